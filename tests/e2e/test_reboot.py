"""Reboots and power cuts, probed from the first moment that the box has a network."""

import time

from harness import lan
from harness.agent import CONFIGURATION, LOCKDOWN, UNIT
from harness.case import Case
from harness.probes import CONTROLS, Target, everything
from harness.session import ssh
from harness.waiting import wait_for


class Prober(Case):
    def test_it_sees_an_open_host(self):
        """Without the packages, all that is never to get in does."""
        self.box.boot()
        probes = self.probe(*everything())
        probes.wait_answer()
        self.box.reboot()
        for target in everything():
            probes.wait_answer(target)
        probes.stop()


class Reboot(Case):
    def from_the_first_moment(self, restart, broken=False):
        """Probes through `restart`, until what gets in by right has done so for a
        while."""
        probes = self.probe(*everything())
        probes.wait_answer()
        restart()
        up = time.monotonic()
        if not broken:
            self.agent.wait_ready()
        for target in CONTROLS:
            probes.wait_answer(target, after=max(up, time.monotonic()))
        # One more that is not answered either.
        self.assert_blocked(lan.STRANGER)
        self.assert_never_in(probes, everything())
        return probes

    def cut(self):
        self.box.power_cut()
        self.box.boot()

    def test_nothing_gets_in_while_it_boots(self):
        self.install()
        self.from_the_first_moment(self.box.reboot)

    def test_nothing_gets_in_after_a_power_cut(self):
        self.install()
        self.from_the_first_moment(self.cut)

    def test_a_live_grant_comes_back_and_ends_when_it_would_have(self):
        self.install()
        short = self.agent.grant(duration="15s")
        long = self.agent.grant("--on-expiry", "reset", source=lan.STRANGER, duration="1h")
        self.box.reboot()
        self.agent.wait_ready()
        wait_for(lambda: len(self.agent.live()) == 2, "the grants restored")
        for grant in (short, long):
            self.assertAlmostEqual(self.agent.live()[grant["id"]], grant["end"], delta=0.1)
        self.box.run_outside(*ssh())
        self.box.run_outside(*ssh(lan.STRANGER))

        self.cut()
        self.agent.wait_ready()
        self.assertAlmostEqual(self.agent.live()[long["id"]], long["end"], delta=0.1)
        self.assert_reaches(lan.STRANGER)
        wait_for(lambda: self.agent.state_of(short) == "EXPIRED", "the end of the short grant")
        self.assertGreaterEqual(time.time(), short["end"] - 0.1)
        self.assert_blocked(lan.OPERATOR)

    def test_a_grant_that_ended_meanwhile(self):
        self.install()
        grant = self.agent.grant(duration="2s")
        probes = self.probe(Target(lan.OPERATOR, 22))
        self.box.power_cut()
        wait_for(lambda: time.time() > grant["end"], "the end")
        since = time.monotonic()
        self.box.boot()
        self.agent.wait_ready()
        self.assertEqual(self.agent.live(), {})
        self.assertEqual(self.agent.state_of(grant), "EXPIRED")
        probes.wait_answer()
        self.assert_blocked(lan.OPERATOR)
        self.assert_never_in(probes, [Target(lan.OPERATOR, 22)], since)

    def test_an_agent_that_listens_on_an_address_of_the_host(self):
        """It starts before the host has the address."""
        self.box.boot()
        self.box.install(*self.debs)
        self.box.sh("cd /etc/postern/tls && posternctl pki init --dir . &&"
                    f" posternctl pki agent --dir . --name agent --address {lan.BOX}")
        self.agent.configure(more=f"""listen:
  address: "{lan.BOX}:7443"
  from: [{lan.OPERATOR}/32]
  tls: {{cert: tls/agent.pem, key: tls/agent.key, ca: tls/ca.pem}}
  peers: [{{san: "spiffe://postern/controller/main", role: controller}}]
""")
        self.box.run("systemctl", "restart", UNIT)
        self.box.reboot()
        self.agent.wait_ready()
        self.assertEqual(self.box.show(UNIT, "NRestarts")["NRestarts"], "0")
        self.assert_reaches(lan.OPERATOR, 7443)
        self.assert_blocked(lan.STRANGER, 7443)

    def test_the_lockdown_alone(self):
        """Closed, although the agent does not start."""
        self.install()
        self.box.write(f"/etc/systemd/system/{UNIT}.d/broken.conf",
                       "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=10ms\n")
        self.from_the_first_moment(self.box.reboot, broken=True)
        self.assertEqual(self.box.state(LOCKDOWN), "active")
        self.assertNotEqual(self.box.state(UNIT), "active")

        self.box.path(f"/etc/systemd/system/{UNIT}.d/broken.conf").unlink()
        self.box.run("systemctl", "daemon-reload")
        self.box.run("systemctl", "reset-failed", UNIT)
        self.box.run("systemctl", "start", UNIT)
        self.agent.grant()
        self.assert_reaches(lan.OPERATOR)

    def test_the_agent_alone(self):
        self.install()
        self.box.run("systemctl", "mask", LOCKDOWN)
        self.from_the_first_moment(self.box.reboot)

    def test_a_broken_configuration(self):
        self.install()
        self.box.write(CONFIGURATION, "mode: enforce\nguard: {ports: [22, oops]}\n")
        self.from_the_first_moment(self.box.reboot, broken=True)
        self.assertIn(f"{CONFIGURATION}:2:21", self.box.journal("-b", "-u", UNIT))

        self.agent.configure()
        self.box.run("systemctl", "reset-failed", UNIT, check=False)
        self.box.run("systemctl", "restart", UNIT)
        self.agent.grant()
        self.assert_reaches(lan.OPERATOR)
        self.assert_blocked(lan.STRANGER)
