"""A day's work: arming, granting, ssh through the gate, and what is told of it."""

import json
import re
import time

from harness import lan
from harness.agent import UNIT
from harness.case import Case
from harness.session import ssh
from harness.waiting import wait_for


class Arming(Case):
    def test_arm_and_confirm(self):
        self.install(mode=None)
        before = self.session()
        self.agent.grant()
        self.agent.ctl("arm", "--confirm-within", "5m")
        self.assert_blocked(lan.STRANGER)
        self.box.run_outside(*ssh())
        self.agent.ctl("confirm")
        before.wait_tick()
        self.assertEqual(self.agent.ask("status")["mode"], "enforce")

        self.box.run("systemctl", "restart", UNIT)
        self.assert_blocked(lan.STRANGER)
        self.box.reboot()
        self.agent.wait_ready()
        self.assertEqual(self.agent.ask("status")["mode"], "enforce")
        self.assert_blocked(lan.STRANGER)
        self.box.run_outside(*ssh())

    def test_arm_and_forget(self):
        self.install(mode=None)
        self.agent.ctl("arm", "--confirm-within", "3s")
        self.assert_blocked(lan.STRANGER)
        wait_for(lambda: self.agent.ask("status")["mode"] == "observe", "back to observe")
        self.box.run_outside(*ssh(lan.STRANGER))


class Granting(Case):
    def test_ssh_through_the_gate(self):
        self.install()
        refused = self.box.run_outside(*ssh(), check=False)
        self.assertEqual(refused.returncode, 255)
        self.assertIn("timed out", refused.stderr)

        grant = self.agent.grant()
        self.assertEqual(self.box.run_outside(*ssh(command="hostname")).stdout, "box\n")
        session = self.session()
        self.assert_blocked(lan.STRANGER)
        self.assert_blocked(lan.OPERATOR, 3389)
        shown = self.agent.ask("grants")["grants"]
        self.assertGreater(int(shown[0]["usage"]["packets"]), 0)

        self.agent.ctl("revoke", grant["id"])
        # A revoke ends the session, and the client hears of it.
        self.assertEqual(session.process.wait(10), 255)
        self.assert_blocked(lan.OPERATOR)

    def expire(self, on_expiry):
        self.install()
        grant = self.agent.grant("--on-expiry", on_expiry, duration="4s")
        session = self.session()
        wait_for(lambda: time.time() > grant["end"] - 0.3, "the time just before the end")
        session.wait_tick("a session before its end")
        wait_for(lambda: self.agent.state_of(grant) == "EXPIRED", "the end")
        self.assertGreaterEqual(time.time(), grant["end"])
        self.assert_blocked(lan.OPERATOR)
        return grant, session

    def assert_ended_with(self, grant, last):
        self.assertLess(last, grant["end"] + 0.05)
        # The ticks are as far apart as the machine is busy.
        self.assertGreater(last, grant["end"] - 1.5)

    def test_a_kept_session_outlives_its_grant(self):
        _, session = self.expire("keep")
        session.wait_tick()

    def test_a_cut_session_ends_with_its_grant(self):
        grant, session = self.expire("cut")
        self.assert_ended_with(grant, session.wait_silence())
        # It is not told.
        self.assertTrue(session.is_alive())

    def test_a_reset_session_is_told_of_its_end(self):
        grant, session = self.expire("reset")
        self.assertEqual(session.process.wait(10), 255)
        self.assert_ended_with(grant, session.last[1])


class Told(Case):
    def test_the_status_line(self):
        self.install()
        self.assertRegex(self.agent.status_text(), r"^enforcing 4 ports; no grants live")
        grant = self.agent.grant(duration="5s")
        other = self.agent.grant(source=lan.STRANGER, duration="10m")
        end = time.strftime("%H:%M:%SZ", time.gmtime(grant["end"]))
        text = self.agent.status_text()
        self.assertRegex(text, rf"^enforcing 4 ports; 2 grants live, next ends {end}; ")
        self.assertRegex(text, r"drift repaired 0")
        self.assertIn(text, self.box.run("systemctl", "status", UNIT).stdout)
        # It follows the ledger, and nobody asks.
        end = time.strftime("%H:%M:%SZ", time.gmtime(other["end"]))
        wait_for(lambda: re.match(rf"enforcing 4 ports; 1 grant live, next ends {end}; ",
                                  self.agent.status_text()), "a status without the ended grant")

    def test_the_journal_of_a_grant(self):
        self.install()
        ended = self.agent.grant("--requestor", "ana", duration="2s")
        self.agent.grant(source=lan.STRANGER)
        wait_for(lambda: self.agent.state_of(ended) == "EXPIRED", "the end")

        def entries():
            lines = self.box.journal("-o", "json", f"POSTERN_GRANT_ID={ended['id']}")
            found = [json.loads(line) for line in lines.splitlines()]
            return found if len(found) >= 2 else None
        created, expired = wait_for(entries, "both entries")
        self.assertEqual([e["POSTERN_EVENT"] for e in (created, expired)],
                         ["GRANT_CREATED", "GRANT_EXPIRED"])
        for entry in (created, expired):
            self.assertEqual(entry["POSTERN_REQUESTOR"], "ana")
            self.assertEqual(entry["POSTERN_SOURCE"], f"{lan.OPERATOR}/32")
            self.assertEqual(entry["POSTERN_PORT"], "22/tcp")
            self.assertRegex(entry["MESSAGE_ID"], "^[0-9a-f]{32}$")
            self.assertEqual(entry["_SYSTEMD_UNIT"], UNIT)
            self.assertNotIn("/", entry.get("CODE_FILE", "").removeprefix("agent/app/"))
        self.assertNotEqual(created["MESSAGE_ID"], expired["MESSAGE_ID"])
        for entry in (created, expired):
            told = self.box.journal("-x", f"MESSAGE_ID={entry['MESSAGE_ID']}")
            self.assertRegex(told, "(?m)^(--|░░) Subject: ", "no catalog entry")
