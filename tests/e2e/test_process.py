"""The daemon killed, hung, stopped and reloaded; and all that it can be asked."""

import shutil
import subprocess
import time

from harness import case, lan
from harness.agent import CONFIGURATION, UNIT
from harness.case import Case
from harness.probes import Target, everything
from harness.waiting import wait_for

GRANTED = Target(lan.OPERATOR, 3389)


class Process(Case):
    def under_load(self, happen):
        """Something happens to a daemon with a live grant and a live session on it;
        the probing says what got in meanwhile."""
        grant = self.agent.grant("--port", "3389")
        session = self.session()
        probes = self.probe(GRANTED, *everything())
        probes.wait_answer(GRANTED)
        since = time.monotonic()
        happen()
        probes.wait_answer(GRANTED)
        probes.wait_answer()
        until = time.monotonic()
        session.wait_tick()
        self.assert_never_in(probes, everything())
        self.assert_always_in(probes, GRANTED, since, until)
        return grant

    def test_killed(self):
        self.install()
        pid = self.agent.pid()

        def kill():
            self.box.run("kill", "-KILL", pid)
            self.agent.wait_another(pid)
        grant = self.under_load(kill)
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assertEqual(self.box.show(UNIT, "NRestarts")["NRestarts"], "1")

    def test_hung(self):
        self.install()
        self.assertIn(self.box.show(UNIT, "WatchdogUSec")["WatchdogUSec"], ("10s", "20s", "30s"))
        # As in the unit, but for the time that this test takes.
        self.box.write(f"/etc/systemd/system/{UNIT}.d/soon.conf", "[Service]\nWatchdogSec=2s\n")
        self.box.run("systemctl", "daemon-reload")
        self.box.run("systemctl", "restart", UNIT)
        pid = self.agent.pid()

        def hang():
            self.box.run("kill", "-STOP", pid)
            self.agent.wait_another(pid)
        grant = self.under_load(hang)
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assertRegex(self.box.journal("-u", UNIT), "(?i)watchdog timeout")

    def test_restarted(self):
        self.install()
        grant = self.under_load(lambda: self.box.run("systemctl", "restart", UNIT))
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})

    def test_stopped(self):
        """The kernel holds the deadline, and the record of it comes later."""
        self.install()
        grant = self.agent.grant("--on-expiry", "cut", duration="6s")
        session = self.session()
        probes = self.probe(*everything())
        self.box.run("systemctl", "stop", UNIT)
        self.assertEqual(self.box.state(UNIT), "inactive")
        self.assertEqual(self.box.show(UNIT, "Result")["Result"], "success")
        self.assert_reaches(lan.OPERATOR)
        wait_for(lambda: time.time() > grant["end"], "the end")
        self.assertLess(session.wait_silence(), grant["end"] + 0.05)
        self.assert_blocked(lan.OPERATOR)

        self.box.run("systemctl", "start", UNIT)
        self.assertEqual(self.agent.state_of(grant), "EXPIRED")
        self.assertEqual(self.agent.live(), {})
        self.assert_never_in(probes, everything())

    def test_reloaded(self):
        self.install()
        pid = self.agent.pid()
        self.assert_reaches(lan.STRANGER, 8022)
        self.agent.configure(more="guard: {ports: [22, 8022]}\n")
        self.box.run("systemctl", "reload", UNIT)
        wait_for(lambda: 8022 in self.agent.ask("status")["guarded_ports"], "the new ports")
        self.assert_blocked(lan.STRANGER, 8022)
        self.assert_reaches(lan.STRANGER, 3389)

        # What cannot be read changes nothing, and whoever asked is told.
        self.box.write(CONFIGURATION, "guard: {ports: [22, oops]}\n")
        self.assertNotEqual(self.box.run("systemctl", "reload", UNIT, check=False).returncode, 0)
        wait_for(lambda: f"{CONFIGURATION}:1:21" in self.box.journal(
            "-u", UNIT, "POSTERN_EVENT=RELOAD_REFUSED"), "a word about the mistake")
        self.assert_blocked(lan.STRANGER, 8022)
        self.assertEqual(self.agent.pid(), pid)

    def test_one_that_cannot_start_again_leaves_the_gate(self):
        """Restarts have a limit; closed is closed beyond it."""
        self.install()

        def break_and_kill():
            self.box.write(f"/etc/systemd/system/{UNIT}.d/broken.conf",
                           "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=10ms\n")
            self.box.run("systemctl", "daemon-reload")
            self.box.run("kill", "-KILL", self.agent.pid())
            wait_for(lambda: self.box.state(UNIT) == "failed", "the last attempt")
        self.under_load(break_and_kill)


class Asked(Case):
    """The seccomp filter and the sandbox under real use."""

    def test_everything_that_can_be_asked(self):
        self.install(mode=None)
        pid = self.agent.pid()
        ctl = self.agent.ctl
        watch = self.box.start("posternctl", "watch", "-o", "json", stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
        self.addCleanup(watch.communicate)
        self.addCleanup(watch.kill)

        ctl("status")
        ctl("arm", "--confirm-within", "1h")
        ctl("confirm")
        ctl("disarm")
        ctl("arm", "--confirm-within", "1h")
        grant = self.agent.grant("--port", "3389/any", "--on-expiry", "reset")
        while grant["id"] not in watch.stdout.readline():
            self.assertIsNone(watch.poll(), "watch ended")
        session = self.session()
        ctl("grants", "--all")
        self.ask_the_rest(grant)
        ctl("check", "--from", lan.OPERATOR, "--port", "22")
        ctl("extend", grant["id"], "--for", "1m")
        ctl("move", grant["id"], "--from", lan.STRANGER)
        ctl("move", grant["id"], "--from", lan.OPERATOR)
        self.assert_blocked(lan.STRANGER)
        self.assertIn(lan.STRANGER, ctl("denied").stdout)
        ctl("self", check=False)
        ctl("doctor", check=False)
        ctl("audit", "--format", "csv")
        self.box.run("systemctl", "reload", UNIT)
        ctl("revoke", grant["id"])
        self.agent.grant(source=lan.OPERATOR6, duration="1s", port=22)
        ctl("lockdown", "--reason", "e2e")
        ctl("lockdown", "--lift")
        ctl("revoke", "--all")
        self.assertEqual(session.process.wait(10), 255)
        # Somebody else's hand in the table, where the kernel lets one in.
        self.box.run("nft", "flush", "ruleset", check=False)
        ctl("status")
        self.box.run("systemctl", "stop", UNIT)
        self.box.run("nft", "flush", "ruleset")
        self.box.run("systemctl", "start", UNIT)
        self.assert_untouched()
        self.assertNotEqual(self.agent.pid(), pid)

    def ask_the_rest(self, grant):
        """What posternctl has no verb for."""
        calls = self.box.path("/usr/local/bin/calls")
        shutil.copy(case.STAGE.calls, calls)
        self.box.run("calls", "/run/postern/agent.sock", grant["id"])

    def test_asked_over_the_network(self):
        """Keys that root alone can read; mTLS from outside."""
        self.box.boot()
        self.box.install(*self.debs)
        self.make_keys("/etc/postern/tls")
        self.agent.configure(more=f"""listen:
  address: "[::]:7443"
  from: [{lan.OPERATOR}/32]
  tls: {{cert: tls/agent.pem, key: tls/agent.key, ca: tls/ca.pem}}
  peers:
    - {{san: "spiffe://postern/controller/main", role: controller}}
""")
        self.box.run("systemctl", "restart", UNIT)
        remote = ("posternctl", "--address", f"{lan.BOX}:7443", "--ca", "/etc/postern/tls/ca.pem",
                  "--cert", "/etc/postern/tls/main.pem", "--key", "/etc/postern/tls/main.key")
        self.box.run_outside(*remote, "grant", "--port", "22", "--for", "10m")
        self.assert_reaches(lan.OPERATOR)
        self.assert_blocked(lan.STRANGER, 7443)
        self.box.run("systemctl", "reload", UNIT)
        self.assert_untouched()

        # A new authority, and new keys of everybody.
        session = self.session()
        self.box.sh("rm /etc/postern/tls/*")
        self.make_keys("/etc/postern/tls")
        self.box.run("systemctl", "restart", UNIT)
        self.box.run_outside(*remote, "status")
        session.wait_tick()
        self.assert_untouched()

    def make_keys(self, folder):
        pki = ("posternctl", "pki")
        self.box.run(*pki, "init", "--dir", folder)
        self.box.run(*pki, "agent", "--dir", folder, "--name", "agent", "--address", lan.BOX)
        self.box.run(*pki, "controller", "--dir", folder, "--name", "main")
        self.assertEqual(self.box.run("stat", "-c", "%a %U", f"{folder}/agent.key").stdout,
                         "600 root\n")

    def assert_untouched(self):
        """No restart, no refused call: neither killed nor told EPERM."""
        warnings = self.agent.ask("status")["warnings"]
        self.assertEqual(warnings, [])
        self.assertEqual(self.box.show(UNIT, "ActiveState", "NRestarts", "Result"),
                         {"ActiveState": "active", "NRestarts": "0", "Result": "success"})
        self.assertNotRegex(self.box.journal("-u", UNIT),
                            r"(?i)SIGSYS|31/SYS|seccomp|core-dump|not permitted")
