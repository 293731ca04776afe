"""The .rpms: what they ask of a host, and their life in a root that holds nothing
else, with rpm's scriptlets run."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

import support
from support import run

NEWEST_GLIBC = (2, 34)
# One interface on every distribution; all else is inside the programs.
LIBRARIES = {"posternd": {"libnftnl.so.11", "libmnl.so.0", "libsqlite3.so.0"}, "posternctl": set(),
             "postern-controller": {"libcjose.so.0", "libpq.so.5", "libsqlite3.so.0"}}
LIBRARIES_OF_ALL = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libssl.so.3", "libcrypto.so.3",
                    "libsystemd.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# Packages of Debian whose archives are inside.
LINKED = ("libabsl-dev", "libc-ares-dev", "libgrpc-dev", "libprotobuf-dev", "libre2-dev",
          "libstdc++-12-dev", "libyaml-cpp-dev", "zlib1g-dev")
FILES = {
    "postern-agent": {
        "/etc/postern": "drwxr-xr-x",
        "/etc/postern/agent.yaml": "-rw-r--r--",
        "/etc/postern/agent.yaml.d": "drwxr-xr-x",
        "/etc/postern/tls": "drwx------",
        "/usr/lib/systemd/system-preset/80-postern-agent.preset": "-rw-r--r--",
        "/usr/lib/systemd/system/postern-agent.service": "-rw-r--r--",
        "/usr/lib/systemd/system/postern-lockdown.service": "-rw-r--r--",
        "/usr/lib/sysusers.d/postern-agent.conf": "-rw-r--r--",
        "/usr/lib/systemd/catalog/postern.catalog": "-rw-r--r--",
        "/usr/lib/tmpfiles.d/postern-agent.conf": "-rw-r--r--",
        "/usr/sbin/posternd": "-rwxr-xr-x",
        "/usr/share/licenses/postern-agent": "drwxr-xr-x",
        "/usr/share/licenses/postern-agent/LICENSE": "-rw-r--r--",
        "/usr/share/man/man5/agent.yaml.5.gz": "-rw-r--r--",
        "/usr/share/man/man8/posternd.8.gz": "-rw-r--r--",
    },
    "postern-cli": {
        "/usr/bin/posternctl": "-rwxr-xr-x",
        "/usr/share/bash-completion/completions/posternctl": "-rw-r--r--",
        "/usr/share/fish/vendor_completions.d/posternctl.fish": "-rw-r--r--",
        "/usr/share/licenses/postern-cli": "drwxr-xr-x",
        "/usr/share/licenses/postern-cli/LICENSE": "-rw-r--r--",
        "/usr/share/man/man1/posternctl.1.gz": "-rw-r--r--",
        "/usr/share/man/man5/postern-policy.5.gz": "-rw-r--r--",
        "/usr/share/zsh/site-functions/_posternctl": "-rw-r--r--",
    },
    "postern-controller": {
        "/etc/postern": "drwxr-xr-x",
        "/etc/postern/controller-tls": "drwx------",
        "/etc/postern/controller.yaml": "-rw-r--r--",
        "/etc/postern/controller.yaml.d": "drwxr-xr-x",
        "/usr/lib/systemd/system-preset/80-postern-controller.preset": "-rw-r--r--",
        "/usr/lib/systemd/system/postern-controller.service": "-rw-r--r--",
        "/usr/lib/sysusers.d/postern-controller.conf": "-rw-r--r--",
        "/usr/lib/tmpfiles.d/postern-controller.conf": "-rw-r--r--",
        "/usr/sbin/postern-controller": "-rwxr-xr-x",
        "/usr/share/licenses/postern-controller": "drwxr-xr-x",
        "/usr/share/licenses/postern-controller/LICENSE": "-rw-r--r--",
        "/usr/share/man/man5/controller.yaml.5.gz": "-rw-r--r--",
        "/usr/share/man/man8/postern-controller.8.gz": "-rw-r--r--",
    },
}
NAMES = list(FILES)
# What a guarded host has.
HOST_NAMES = ["postern-agent", "postern-cli"]
for _name in NAMES:
    FILES[_name].update({f"/usr/share/licenses/{_name}/{linked}": "-rw-r--r--" for linked in LINKED})
CALLS = "run/calls"


class Contents(unittest.TestCase):
    def test_files_modes_and_owners(self):
        for name, expected in FILES.items():
            listed = {}
            for line in run("rpm", "-qp", "--queryformat",
                            "[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]",
                            support.rpm(name)).splitlines():
                mode, owner, path = line.split()
                self.assertEqual(owner, "root:root", line)
                listed[path] = mode
            self.assertEqual(listed, expected)

    def test_the_configuration_is_never_replaced(self):
        for name in ("agent", "controller"):
            package = support.rpm(f"postern-{name}")
            config = run("rpm", "-qp", "--configfiles", package)
            self.assertEqual(config, f"/etc/postern/{name}.yaml\n")
            flags = run("rpm", "-qp", "--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]",
                        package)
            # c: configuration, n: noreplace.
            self.assertRegex(flags, rf"(?m)^/etc/postern/{name}\.yaml cn$")


class InARoot(unittest.TestCase):
    """A shell, systemd's own sysusers and the libraries, and nothing else. systemctl
    and journalctl write down how they were called."""

    def setUp(self):
        folder = support.Folder()
        self.addCleanup(folder.remove)
        self.root = folder.path
        for path in ("bin", "usr/bin", "usr/sbin", "run", "etc", "proc", "dev"):
            (self.root / path).mkdir(parents=True)
        self.take("/bin/busybox")
        for tool in ("sh", "cat", "chroot"):
            os.symlink("/bin/busybox", self.root / "bin" / tool)
        self.take("/usr/bin/systemd-sysusers")
        for program in LIBRARIES:
            self.take_libraries(support.BUILD / "portable" / program)
        for tool in ("systemctl", "journalctl"):
            path = self.root / "usr/bin" / tool
            path.write_text(f'#!/bin/sh\necho "{tool} $*" >>/{CALLS}\n')
            path.chmod(0o755)
        self.rpm("--initdb")

    def take(self, program):
        where = self.root / program.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, where)
        self.take_libraries(program)

    def take_libraries(self, program):
        for path in re.findall(r"(/\S+) \(0x", subprocess.run(
                ["ldd", program], capture_output=True, text=True, check=False).stdout):
            where = self.root / path.lstrip("/")
            where.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, where)

    def boot(self):
        (self.root / "run/systemd/system").mkdir(parents=True)

    def within(self, script):
        """In one network namespace, which ends with the script."""
        done = subprocess.run(support.isolated("sh", "-ec", script), check=False, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=os.environ | {"R": str(self.root)})
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def rpm(self, *arguments):
        return self.within(f"rpm --root $R {' '.join(map(str, arguments))}")

    def install(self, *names):
        # rpm knows of nothing in this root that could provide the libraries.
        return self.rpm("--install", "--nodeps", *map(support.rpm, names or HOST_NAMES))

    def calls(self):
        path = self.root / CALLS
        said = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return said

    def test_programs_run_with_older_libraries(self):
        self.install(*NAMES)
        for path in ("usr/sbin/posternd", "usr/bin/posternctl", "usr/sbin/postern-controller"):
            program = self.root / path
            newest = max(tuple(map(int, version.split("."))) for version in re.findall(
                r"GLIBC_([0-9.]+)", run("objdump", "-T", program)))
            self.assertLessEqual(newest, NEWEST_GLIBC)
            linked = set(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", program)))
            self.assertLessEqual(linked, LIBRARIES_OF_ALL | LIBRARIES[program.name])
            self.assertIn("libssl.so.3", linked)
            # Stripped, or the packages would be ten times as large.
            self.assertNotIn(".debug_info", run("readelf", "-SW", program))
            self.assertIn(support.VERSION, self.within(f"chroot $R /{path} --version"))

    def test_the_licence_of_each_archive_inside_is_there(self):
        command = next(line for line in (support.BUILD / "CMakeFiles/rules.ninja").read_text().splitlines()
                       if "link_archives.py" in line)
        names = re.search(r"link_archives\.py (\S+)", command)[1].split(",")
        self.assertIn("grpc", names)
        paths = [run("g++", f"-print-file-name=lib{name}.a").strip() for name in names]
        owners = {run("dpkg", "-S", os.path.realpath(path)).split(":")[0] for path in paths}
        # gRPC's C++ part has the licence of the other.
        self.assertEqual(owners - {"libgrpc++-dev"}, set(LINKED) - {"libstdc++-12-dev"})

    def test_image_build(self):
        self.assertIn("the gate observes", self.install())
        self.assertEqual(self.calls(), [
            "journalctl --update-catalog",
            "systemctl --no-reload preset postern-lockdown.service postern-agent.service"])
        self.assertRegex((self.root / "etc/passwd").read_text(), r"(?m)^postern-agent:")
        self.assertRegex((self.root / "etc/group").read_text(), r"(?m)^postern:.*:postern-agent$")
        self.assertEqual(self.rpm("--verify", "--nodeps", *HOST_NAMES), "")
        self.assert_there(*HOST_NAMES)

    def assert_there(self, *names):
        for name in names:
            for path in FILES[name]:
                self.assertTrue((self.root / path[1:]).exists(), path)

    def test_a_ready_configuration_is_kept(self):
        config = self.root / "etc/postern/agent.yaml"
        config.parent.mkdir()
        config.write_text("mode: enforce\n")
        self.assertIn("was here before, and is in force", self.install())
        self.assertEqual(config.read_text(), "mode: enforce\n")

    def scriptlet(self, which, count, package="postern-agent"):
        """As rpm calls it, with the number of versions that are there afterwards."""
        text = run("rpm", "-qp", "--queryformat", f"%{{{which}}}", support.rpm(package))
        script = self.root / "run/scriptlet"
        script.write_text(text)
        said = self.within(f"chroot $R sh -e /run/scriptlet {count}")
        return said, self.calls()

    def test_an_upgrade_restarts_after_it_and_stops_nothing_before(self):
        self.boot()
        self.install()
        self.calls()
        said, calls = self.scriptlet("POSTIN", 2)
        self.assertEqual(calls, ["journalctl --update-catalog", "systemctl daemon-reload"])
        self.assertNotIn("posternctl", said)
        self.assertEqual(self.scriptlet("PREUN", 1), ("", []))
        self.assertEqual(self.scriptlet("POSTUN", 1), (
            "", ["systemctl daemon-reload", "systemctl try-restart postern-agent.service"]))

    def test_life_in_a_booted_system(self):
        self.boot()
        said = self.install()
        steps = said[said.index("the gate observes"):].splitlines()[1:4]
        self.assertEqual([re.findall(r"posternctl (\w+)", step) for step in steps],
                         [["grant"], ["arm"], ["confirm"]])
        self.assertEqual(self.calls()[-2:],
                         ["systemctl daemon-reload", "systemctl start postern-agent.service"])

        ledger = self.root / "var/lib/postern/ledger"
        ledger.parent.mkdir(parents=True)
        ledger.write_text("grants")
        # The packaged programs make the gate and take it down, in this kernel.
        said = self.within(
            "chroot $R /usr/sbin/posternd --lockdown; nft list tables;"
            f"rpm --root $R --erase {' '.join(HOST_NAMES)}; nft list tables")
        self.assertEqual(said.count("table inet postern"), 1, said)
        self.assertIn("The gate is down", said[said.index("table inet postern"):])
        self.assertEqual(self.calls(), [
            "systemctl --no-reload disable --now postern-agent.service postern-lockdown.service",
            "systemctl daemon-reload",
            "journalctl --update-catalog"])
        for name in HOST_NAMES:
            for path in FILES[name]:
                self.assertFalse((self.root / path[1:]).exists(), path)
        self.assertEqual(ledger.read_text(), "grants")

    def test_life_of_the_controller_beside_the_agent(self):
        self.boot()
        self.install()
        self.calls()
        said = self.install("postern-controller")
        self.assertIn("owner.token", said)
        self.assertRegex((self.root / "etc/passwd").read_text(), r"(?m)^postern-controller:")
        self.assertEqual(self.calls(), [
            "systemctl --no-reload preset postern-controller.service",
            "systemctl daemon-reload", "systemctl start postern-controller.service"])
        self.assertEqual(self.rpm("--verify", "--nodeps", *NAMES), "")

        store = self.root / "var/lib/postern-controller/controller.db"
        store.parent.mkdir(parents=True)
        store.write_text("policies")
        self.rpm("--erase", "postern-controller")
        self.assertEqual(self.calls(), [
            "systemctl --no-reload disable --now postern-controller.service",
            "systemctl daemon-reload"])
        self.assertEqual(store.read_text(), "policies")
        self.assertFalse((self.root / "usr/sbin/postern-controller").exists())
        self.assertEqual(self.rpm("--verify", "--nodeps", *HOST_NAMES), "")
        self.assert_there(*HOST_NAMES)

    def test_an_upgrade_of_the_controller_restarts_it(self):
        self.boot()
        self.install("postern-controller")
        self.calls()
        self.assertEqual(self.scriptlet("POSTIN", 2, "postern-controller"),
                         ("", ["systemctl daemon-reload"]))
        self.assertEqual(self.scriptlet("PREUN", 1, "postern-controller"), ("", []))
        self.assertEqual(self.scriptlet("POSTUN", 1, "postern-controller"), (
            "", ["systemctl daemon-reload", "systemctl try-restart postern-controller.service"]))


if __name__ == "__main__":
    unittest.main()
