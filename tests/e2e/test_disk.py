"""A ledger that cannot be written."""

from harness import lan
from harness.agent import UNIT
from harness.case import Case
from harness.probes import everything
from harness.waiting import wait_for


class FullDisk(Case):
    def setUp(self):
        super().setUp()
        self.install()
        self.box.run("systemctl", "stop", UNIT)
        self.box.sh("mount -t tmpfs -o size=1m,mode=700,uid=postern-agent,gid=postern-agent "
                    "tmpfs /var/lib/postern")
        self.box.run("systemctl", "start", UNIT)

    def fill(self):
        self.box.sh("! cat /dev/zero >/var/lib/postern/fill 2>/dev/null")

    def make_room(self):
        self.box.sh("rm /var/lib/postern/fill")

    def test_grants_are_refused_and_ends_still_come(self):
        revoked = self.agent.grant()
        expiring = self.agent.grant(source=lan.STRANGER, duration="6s")
        probes = self.probe(*everything("192.0.2.66"))
        self.fill()
        refused = self.agent.ctl("grant", "--from", lan.OPERATOR, "--port", "3389", "--for", "5m",
                                 check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "(?i)full|no space")
        self.assert_blocked(lan.OPERATOR, 3389)
        self.agent.ctl("revoke", revoked["id"], check=False)
        self.assert_blocked(lan.OPERATOR)
        self.assertIn("disk", str(self.agent.ask("status")["warnings"]))
        wait_for(lambda: expiring["id"] not in self.agent.live(), "the end")
        self.assert_blocked(lan.STRANGER)

        self.make_room()
        self.agent.grant(port=3389)
        self.assert_reaches(lan.OPERATOR, 3389)
        wait_for(lambda: self.agent.state_of(expiring) == "EXPIRED"
                 and self.agent.state_of(revoked) == "REVOKED", "the record of the ends")
        probes.stop()

    def test_a_restart_on_a_full_disk(self):
        grant = self.agent.grant()
        probes = self.probe(*everything())
        probes.wait_answer()
        self.fill()
        self.box.run("systemctl", "restart", UNIT)
        probes.wait_answer()
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assert_reaches(lan.OPERATOR)
        self.make_room()
        self.box.run("systemctl", "restart", UNIT)
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assert_reaches(lan.OPERATOR)
        self.assert_never_in(probes, everything())
