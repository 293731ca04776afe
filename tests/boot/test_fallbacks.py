"""What the kernel cannot do, the agent does in another way: protect the table (Linux
6.9), move an element's end in place (6.12), remove one that may be gone (6.3)."""

import socket
import time

from harness import lan
from harness.agent import UNIT
from harness.probes import Target
from harness.waiting import wait_for
from vm.case import PATIENCE, PORT, SLACK, Case

OPERATOR = Target(lan.OPERATOR, PORT)
FLUSHES = 5


class Table(Case):
    def test_the_status_says_whether_the_table_is_protected(self):
        self.assertEqual(self.agent.ask("status")["table_protected"], self.protects)
        text = "protected from other programs" if self.protects else \
            "watched; this kernel cannot protect it"
        self.assertIn(text, self.agent.ctl("status").stdout)

    def test_a_flush_of_all_rules(self):
        """Where the table cannot be protected, it is back in no time."""
        grant = self.agent.grant()
        before = int(self.repairs()["count"])
        for number in range(1, FLUSHES + 1):
            self.machine.run("nft", "flush", "ruleset")
            if not self.protects:
                wait_for(lambda least=before + number: int(self.repairs()["count"]) >= least,
                         "a repair", PATIENCE)
            self.assert_blocked(lan.STRANGER)
            self.assert_reaches(lan.OPERATOR)
        self.assertEqual(self.agent.live()[grant["id"]], grant["end"])
        repairs = self.repairs()
        if self.protects:
            self.assertEqual(int(repairs["count"]), before)
            return
        self.assertIn("nft", repairs["last_detail"])
        took = float(repairs["longest_took"].removesuffix("s"))
        self.assertLess(took, SLACK)
        self.say(f"repaired within {took * 1000:.0f} ms")

    def repairs(self):
        return self.agent.ask("status")["repairs"]


class Ends(Case):
    """Judged with the agent stopped: the kernel holds the ends."""

    def stop_agent(self):
        self.machine.run("systemctl", "stop", UNIT)
        self.addCleanup(self.machine.run, "systemctl", "start", UNIT)

    def test_an_extended_grant_lives_on(self):
        grant = self.agent.grant(duration="20s")
        self.assert_reaches()
        self.agent.ctl("extend", grant["id"], "--for", "10m")
        self.stop_agent()
        wait_for(lambda: time.time() > grant["end"] + SLACK, "the end that was")
        self.assert_reaches()
        self.assertAlmostEqual(self.remaining(), grant["end"] + 600 - time.time(), delta=SLACK)

    def test_a_shortened_one_ends_sooner(self):
        """The longer of two grants for the same is taken back."""
        long = self.agent.grant(duration="1h")
        short = self.agent.grant(duration="20s")
        probes = self.probe(OPERATOR)
        self.agent.ctl("revoke", long["id"], "--keep-sessions")
        self.stop_agent()
        wait_for(lambda: time.time() > short["end"] + SLACK, "the end")
        self.assertAlmostEqual(self.last_in(probes, OPERATOR), short["end"], delta=SLACK)
        self.assert_blocked()

    def test_a_revoked_one_and_its_session_end_now(self):
        grant = self.agent.grant(port=22)
        session = self.session()
        self.agent.ctl("revoke", grant["id"])
        self.assert_ended(session)
        self.assert_blocked(port=22)

    def test_a_session_is_reset_at_the_end(self):
        grant = self.agent.grant("--on-expiry", "reset", port=22, duration="8s")
        session = self.session()
        self.assert_ended(session)
        self.assertAlmostEqual(time.time(), grant["end"], delta=SLACK)

    def test_an_end_that_has_passed_hinders_nothing(self):
        """An element that has expired and one that lives, changed together."""
        self.agent.grant(source=lan.STRANGER, duration="1s")
        grant = self.agent.grant("--on-expiry", "cut", duration="5m")
        self.agent.ctl("revoke", "--all")
        self.assertNotIn(grant["id"], self.agent.live())
        self.assert_blocked()
        self.assertEqual(self.repairs_failed(), "")

    def repairs_failed(self):
        return self.machine.sh("journalctl -b -u postern-agent -p err --no-pager -q -o cat")

    def session(self):
        """A connection to sshd that has said something."""
        session = wait_for(self.connect, "a session", 30)
        self.addCleanup(session.close)
        self.assertIn(b"SSH", session.recv(100))
        return session

    @staticmethod
    def connect():
        try:
            return socket.create_connection((lan.BOX, 22), 15, (lan.OPERATOR, 0))
        except OSError:
            return None

    def assert_ended(self, session):
        """From the machine's side."""
        with self.assertRaises(ConnectionResetError):
            session.recv(100)
