"""The machine's reset button: what a boot finds, and what it lets in meanwhile."""

import time

from harness import lan
from harness.agent import LOCKDOWN
from harness.probes import Probes, Target, everything
from harness.waiting import wait_for
from vm.case import PATIENCE, PORT, SECOND_OPERATOR, Case, Shared

HELD, OVER = Target(lan.OPERATOR, PORT), Target(SECOND_OPERATOR, PORT)


class Reset(Case):
    """One reset for all of them, with two grants made before it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine.set_clock()
        cls.held = cls.agent.grant(source=HELD.source, duration="2h")
        cls.over = cls.agent.grant(source=OVER.source, duration="4s")
        cls.targets = everything()
        cls.probes = Probes([*cls.targets, HELD], 0.05)
        cls.addClassCleanup(cls.probes.stop)
        cls.pressed = time.monotonic()
        cls.machine.reset()
        cls.modules = cls.machine.sh("cat /proc/modules")
        cls.machine.wait_up()
        wait_for(cls.agent.is_ready, "the agent", PATIENCE)
        cls.probes.wait_answer(HELD)
        cls.probes.wait_answer()
        cls.probes.stop()

    def setUp(self):
        """The reset is what is judged: nothing is put right."""

    def test_without_the_packages_all_got_in(self):
        """The probes can tell."""
        for target in everything():
            self.assertTrue(Shared.before_install.got_in(target), f"{target}")

    def test_closed_from_the_first_packet(self):
        self.assert_never_in(self.probes, self.targets, self.pressed)

    def test_nf_tables_is_a_module_that_the_gate_brings(self):
        path = self.machine.run("modinfo", "-F", "filename", "nf_tables").stdout
        self.assertIn(".ko", path)
        self.assertNotIn("nf_tables", self.modules)
        self.assertIn("nf_tables", self.machine.sh("cat /proc/modules"))

    def test_the_lockdown_comes_before_the_network(self):
        stamp = "ActiveEnterTimestampMonotonic"
        locked = int(self.machine.show(LOCKDOWN, stamp)[stamp])
        online = int(self.machine.show("systemd-networkd.service", stamp)[stamp])
        self.assertGreater(locked, 0)
        self.assertLess(locked, online)

    def test_a_live_grant_keeps_its_end(self):
        self.assertAlmostEqual(self.agent.live()[self.held["id"]], self.held["end"], delta=0.001)
        self.assertTrue(self.probes.got_in(HELD, self.pressed))

    def test_a_grant_that_ended_meanwhile_stays_ended(self):
        self.assertEqual(self.agent.state_of(self.over), "EXPIRED")
        self.assert_blocked(OVER.source)

    def test_nothing_failed(self):
        self.assertEqual(self.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout,
                         "")
