"""Installing, removing, and what is there between the two."""

import re
import stat
import sys
import time

from harness import lan
from harness.agent import CONFIGURATION, LOCKDOWN, UNIT
from harness.case import Case
from harness.probes import everything
from harness.session import ssh

EXPORTER = "postern-exporter.service"


class Install(Case):
    def test_a_fresh_installation_observes(self):
        self.box.boot()
        session = self.session()
        output = self.box.install(*self.debs)

        for unit in (UNIT, LOCKDOWN):
            self.assertEqual(self.box.run("systemctl", "is-enabled", unit).stdout, "enabled\n")
        self.assertTrue(self.agent.is_ready())
        self.assertEqual(self.agent.ask("status")["mode"], "observe")
        # The three lines that come next, and nothing of ours after them.
        self.assertRegex(output, r"postern-agent: .*\n.*posternctl grant .*\n.*posternctl arm .*\n"
                                 r".*posternctl confirm")
        session.wait_tick()
        self.assert_reaches(lan.STRANGER, 22)
        self.box.run_outside(*ssh(lan.STRANGER))

        self.box.reboot()
        self.agent.wait_ready()
        self.assertEqual(self.agent.ask("status")["mode"], "observe")
        self.box.run_outside(*ssh(lan.STRANGER))

    def test_a_ready_configuration_is_kept_and_obeyed(self):
        ready = "# of the image\nmode: enforce\nlimits: {max_duration: 30m}\n"
        self.box.write(CONFIGURATION, ready)
        self.box.boot()
        probes = self.probe(*everything())
        session = self.session()
        self.box.install(*self.debs)
        installed = time.monotonic()

        self.assertEqual(self.box.path(CONFIGURATION).read_text(), ready)
        left = [p.name for p in self.box.path("/etc/postern").iterdir()]
        self.assertFalse([name for name in left if "dpkg" in name], left)
        status = self.agent.ask("status")
        self.assertEqual((status["mode"], status["max_duration"]), ("enforce", "1800s"))
        probes.wait_answer()
        # The connection that was there before the gate lives on.
        session.wait_tick()
        self.assertTrue(probes.got_in(probes.targets[2]), "port 22 was open before")
        self.assert_never_in(probes, everything(), since=installed)

    def test_a_ready_drop_in_is_obeyed_from_the_first_start(self):
        self.box.write("/etc/postern/agent.yaml.d/50-site.yaml", "mode: enforce\n")
        self.box.boot()
        output = self.box.install(*self.debs)
        self.assertIn("was here before, and is in force", output)
        self.assertEqual(self.agent.ask("status")["mode"], "enforce")
        self.assert_blocked(lan.STRANGER)

    def test_a_ready_configuration_with_a_mistake_is_told_and_closes_nothing(self):
        self.box.write(CONFIGURATION, "mode: enforce\nguard: {ports: [22, ssh]}\n")
        self.box.boot()
        output = self.box.install(*self.debs)
        self.assertRegex(output, r"agent\.yaml:2:\d+: guard\.ports.*\n.*posternd does not start")
        self.assertFalse(self.agent.is_ready())
        self.assert_reaches(lan.STRANGER, 22)

    def test_whose_files_they_are_and_what_the_daemon_may(self):
        self.install()
        users = {line.split(":")[0]: line.split(":") for line in
                 self.box.path("/etc/passwd").read_text().splitlines()}
        groups = {line.split(":")[0]: line.split(":") for line in
                  self.box.path("/etc/group").read_text().splitlines()}
        user = users["postern-agent"]
        self.assertRegex(user[6], "nologin$")
        self.assertIn("postern", groups)

        state = self.box.path("/var/lib/postern").stat()
        self.assertEqual((stat.S_IMODE(state.st_mode), str(state.st_uid)), (0o700, user[2]))
        self.assertEqual(self.box.run("stat", "-c", "%a %U", "/run/postern",
                                      CONFIGURATION).stdout, "755 postern-agent\n644 root\n")
        self.assertEqual(self.box.run("stat", "-c", "%a %U %G", "/run/postern/agent.sock").stdout,
                         "660 postern-agent postern\n")
        process = self.box.sh(f"cat /proc/{self.agent.pid()}/status")
        self.assertEqual(re.search(r"^Uid:\s+(\d+)", process, re.M)[1], user[2])
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(re.search(rf"^{kind}:\s+(\w+)", process, re.M)[1], f"{1 << 12:016x}",
                             "CAP_NET_ADMIN and no other")
        self.assertRegex(process, r"\nNoNewPrivs:\s+1\n")
        self.assertRegex(process, r"\nSeccomp:\s+2\n")

        # The group opens the local socket, and nothing else does.
        self.box.run("useradd", "--groups", "postern", "friend")
        self.box.run("useradd", "other")
        self.box.run("setpriv", "--reuid=friend", "--regid=friend", "--init-groups",
                     "posternctl", "status")
        refused = self.box.run("setpriv", "--reuid=other", "--regid=other", "--init-groups",
                               "posternctl", "status", check=False)
        self.assertEqual(refused.returncode, 1, refused.stdout)

    def test_exposure(self):
        self.install()
        for unit, most in ((UNIT, 1.8), (LOCKDOWN, 1.5)):
            done = self.box.run("systemd-analyze", "security", "--no-pager", unit)
            exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1])
            print(f"{unit} {exposure} ... ", end="", file=sys.stderr, flush=True)
            self.assertLessEqual(exposure, most, done.stdout)

    def test_the_exporter(self):
        self.agent.configure("enforce", "metrics_socket: /run/postern/metrics.sock\n")
        self.box.boot()
        self.box.install(*self.debs, self.exporter_deb)
        self.agent.wait_ready()
        # Nobody asked for it yet.
        self.assertEqual(self.box.show(EXPORTER, "UnitFileState")["UnitFileState"], "disabled")
        self.assertEqual(self.box.state(EXPORTER), "inactive")
        self.agent.grant()
        self.box.run("systemctl", "enable", "--now", EXPORTER)
        scrape = ("exec 3<>/dev/tcp/127.0.0.1/9743; "
                  "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3")
        shown = self.box.run("bash", "-c", scrape).stdout
        self.assertIn("\npostern_up 1\n", shown)
        self.assertIn("\npostern_live_grants 1\n", shown)
        done = self.box.run("systemd-analyze", "security", "--no-pager", EXPORTER)
        exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1])
        print(f"{EXPORTER} {exposure} ... ", end="", file=sys.stderr, flush=True)
        self.assertLessEqual(exposure, 1.8, done.stdout)

    def test_the_units_are_in_order(self):
        self.install()
        self.box.reboot()
        done = self.box.run("systemd-analyze", "verify", "--man=no", UNIT, LOCKDOWN)
        self.assertEqual(done.stderr, "")
        self.assertEqual(self.box.run("systemctl", "--failed", "--plain", "--no-legend").stdout, "")


class Removal(Case):
    def gate(self):
        return self.box.run("nft", "list", "table", "inet", "postern", check=False).returncode == 0

    def test_remove_opens_and_keeps_the_state(self):
        self.install()
        grant = self.agent.grant()
        session = self.session()
        self.assert_blocked(lan.STRANGER)
        self.assertTrue(self.gate())

        output = self.box.apt("remove", "postern-agent")
        self.assertRegex(output, r"(?im)^the gate is down.*$")
        self.assertFalse(self.gate())
        self.assert_reaches(lan.STRANGER, 22)
        session.wait_tick()
        self.assertEqual(self.box.path(CONFIGURATION).read_text(), "mode: enforce\n")
        self.assertTrue(list(self.box.path("/var/lib/postern").iterdir()))
        for unit in (UNIT, LOCKDOWN):
            self.assertNotEqual(self.box.run("systemctl", "is-enabled", unit, check=False).stdout,
                                "enabled\n")
        self.box.reboot()
        self.assert_reaches(lan.STRANGER, 22)

        # Back again, it goes on where it was.
        self.box.install(*self.debs)
        self.agent.wait_ready()
        self.assertEqual(self.agent.live(), {grant["id"]: grant["end"]})
        self.assertEqual(self.agent.ask("status")["mode"], "enforce")
        self.assert_blocked(lan.STRANGER)
        self.assert_reaches(lan.OPERATOR)
        self.box.reboot()
        self.assert_blocked(lan.STRANGER)
        self.assert_reaches(lan.OPERATOR)

    def test_purge_leaves_nothing(self):
        self.install()
        self.agent.grant()
        self.box.apt("purge", "postern-agent", "postern-cli")
        self.assertFalse(self.gate())
        for name in ("/var/lib/postern", "/etc/postern"):
            self.assertFalse(self.box.path(name).exists(), name)
        left = self.box.sh("find / -xdev -name '*postern*' -not -path '/var/cache/*' "
                           "-not -path '/var/log/*' -not -path '/proc/*' -not -path '/sys/*'")
        self.assertEqual(left, "")
        self.assertNotIn("postern-", self.box.run("systemctl", "list-units", "--all").stdout)
        self.assert_reaches(lan.STRANGER, 22)

        # And a new beginning is one.
        self.box.install(*self.debs)
        self.agent.wait_ready()
        self.assertEqual(self.agent.ask("status")["mode"], "observe")
        self.assertEqual(self.agent.live(), {})

    def test_purge_after_remove(self):
        self.install()
        self.box.apt("remove", "postern-agent")
        self.box.apt("purge", "postern-agent")
        for name in ("/var/lib/postern", "/etc/postern"):
            self.assertFalse(self.box.path(name).exists(), name)
