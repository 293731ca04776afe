"""The .debs: what they hold, and what dpkg does with them in a system in a folder.

What happens in a booted system is for the tier e2e."""

import os
import pathlib
import re
import subprocess
import unittest

import support
from support import run

FILES = {
    "postern-agent": {
        "/etc/postern/agent.yaml": "-rw-r--r--",
        "/lib/systemd/system/postern-agent.service": "-rw-r--r--",
        "/lib/systemd/system/postern-lockdown.service": "-rw-r--r--",
        "/usr/lib/systemd/system-preset/80-postern-agent.preset": "-rw-r--r--",
        "/usr/lib/sysusers.d/postern-agent.conf": "-rw-r--r--",
        "/usr/lib/systemd/catalog/postern.catalog": "-rw-r--r--",
        "/usr/lib/tmpfiles.d/postern-agent.conf": "-rw-r--r--",
        "/usr/sbin/posternd": "-rwxr-xr-x",
        "/usr/share/doc/postern-agent/changelog.gz": "-rw-r--r--",
        "/usr/share/doc/postern-agent/copyright": "-rw-r--r--",
        "/usr/share/man/man5/agent.yaml.5.gz": "-rw-r--r--",
        "/usr/share/man/man8/posternd.8.gz": "-rw-r--r--",
    },
    "postern-cli": {
        "/usr/bin/posternctl": "-rwxr-xr-x",
        "/usr/share/bash-completion/completions/posternctl": "-rw-r--r--",
        "/usr/share/doc/postern-cli/changelog.gz": "-rw-r--r--",
        "/usr/share/doc/postern-cli/copyright": "-rw-r--r--",
        "/usr/share/fish/vendor_completions.d/posternctl.fish": "-rw-r--r--",
        "/usr/share/man/man1/posternctl.1.gz": "-rw-r--r--",
        "/usr/share/man/man5/postern-policy.5.gz": "-rw-r--r--",
        "/usr/share/zsh/vendor-completions/_posternctl": "-rw-r--r--",
    },
    "postern-controller": {
        "/etc/postern/controller.yaml": "-rw-r--r--",
        "/lib/systemd/system/postern-controller.service": "-rw-r--r--",
        "/usr/lib/systemd/system-preset/80-postern-controller.preset": "-rw-r--r--",
        "/usr/lib/sysusers.d/postern-controller.conf": "-rw-r--r--",
        "/usr/lib/tmpfiles.d/postern-controller.conf": "-rw-r--r--",
        "/usr/sbin/postern-controller": "-rwxr-xr-x",
        "/usr/share/doc/postern-controller/changelog.gz": "-rw-r--r--",
        "/usr/share/doc/postern-controller/copyright": "-rw-r--r--",
        "/usr/share/man/man5/controller.yaml.5.gz": "-rw-r--r--",
        "/usr/share/man/man8/postern-controller.8.gz": "-rw-r--r--",
    },
    "postern-exporter": {
        "/lib/systemd/system/postern-exporter.service": "-rw-r--r--",
        "/usr/bin/postern-exporter": "-rwxr-xr-x",
        "/usr/share/doc/postern-exporter/changelog.gz": "-rw-r--r--",
        "/usr/share/doc/postern-exporter/copyright": "-rw-r--r--",
        "/usr/share/man/man8/postern-exporter.8.gz": "-rw-r--r--",
    },
}
PROGRAMS = {"postern-agent": "usr/sbin/posternd", "postern-cli": "usr/bin/posternctl",
            "postern-controller": "usr/sbin/postern-controller",
            "postern-exporter": "usr/bin/postern-exporter"}


def field(name, which):
    return run("dpkg-deb", "-f", support.deb(name), which).strip()


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = support.Folder()
        cls.addClassCleanup(cls.folder.remove)

    def test_lintian_finds_no_error_and_no_warning(self):
        debs = sorted(support.PACKAGES.glob("*.deb"))
        self.assertEqual(len(debs), 8)
        self.assertEqual(run("lintian", "--fail-on", "error,warning", "--allow-root", *debs), "")

    def test_files_modes_and_owners(self):
        for name, expected in FILES.items():
            listed, folders = {}, set()
            for line in run("dpkg-deb", "-c", support.deb(name)).splitlines():
                mode, owner, _, _, _, path = line.split(maxsplit=5)
                self.assertEqual(owner, "root/root", line)
                if mode.startswith("d"):
                    folders.add(mode)
                else:
                    listed[path[1:]] = mode
            self.assertEqual(listed, expected)
            self.assertEqual(folders, {"drwxr-xr-x"})

    def test_version_is_the_projects(self):
        for name in FILES:
            self.assertEqual(field(name, "Version"), support.VERSION)
            program = support.unpacked(name, self.folder) / PROGRAMS[name]
            self.assertRegex(run(program, "--version"), rf" {re.escape(support.VERSION)}\n$")

    def test_every_library_comes_with_a_dependency(self):
        for name, program in PROGRAMS.items():
            depends = {entry.split()[0] for entry in field(name, "Depends").split(",")}
            linked = run("readelf", "-d", support.unpacked(name, self.folder) / program)
            sonames = re.findall(r"\(NEEDED\).*\[(.*)\]", linked)
            self.assertGreater(len(sonames), 5)
            for soname in sonames:
                if soname.startswith("ld-linux"):
                    continue
                found = run("dpkg", "-S", f"*/{soname}").splitlines()
                owners = {line.split(":")[0] for line in found}
                self.assertTrue(depends & owners, f"{soname}, of {owners}, is not in {depends}")

    def test_conffiles(self):
        for name in ("agent", "controller"):
            listed = run("dpkg-deb", "-I", support.deb(f"postern-{name}"), "conffiles")
            self.assertEqual(listed, f"/etc/postern/{name}.yaml\n")

    def test_debug_symbols_are_of_these_programs(self):
        for name, program in PROGRAMS.items():
            notes = run("readelf", "-n", support.unpacked(name, self.folder) / program)
            build_id = re.search(r"Build ID: (\w+)", notes)[1]
            symbols = (support.unpacked(f"{name}-dbgsym", self.folder) /
                       f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
            sections = run("readelf", "-SW", symbols)
            self.assertRegex(sections, r"\.debug_info")
            self.assertRegex(sections, r"\.symtab")


@unittest.skipUnless(os.path.exists("/usr/bin/dpkg"), "dpkg is missing")
class InAFolder(unittest.TestCase):
    """Installed as an image build does: dpkg with a root that is not booted."""

    def setUp(self):
        folder = support.Folder()
        self.addCleanup(folder.remove)
        self.root = folder.path / "root"
        for path in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "etc", "usr/lib", "run"):
            (self.root / path).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        self.config = self.root / "etc/postern/agent.yaml"
        self.ledger = self.root / "var/lib/postern/ledger"

    def dpkg(self, *arguments):
        # Nobody answers: a question is a failure.
        done = subprocess.run(
            support.isolated("dpkg", f"--root={self.root}", "--force-script-chrootless",
                             "--force-depends", "--force-not-root", "--force-unsafe-io",
                             *map(str, arguments)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def install(self):
        return self.dpkg("--install", support.deb("postern-agent"), support.deb("postern-cli"))

    def write_ready_configuration(self):
        self.config.parent.mkdir()
        self.config.write_text("mode: enforce\n")

    def enabled(self):
        links = self.root.glob("etc/systemd/system/*.wants/*")
        return {link.name for link in links if pathlib.Path(os.readlink(link)).name == link.name}

    def test_it_is_enabled_and_observes_and_says_what_comes_next(self):
        said = self.install()
        self.assertEqual(self.enabled(), {"postern-agent.service", "postern-lockdown.service"})
        self.assertRegex(self.config.read_text(), r"(?m)^mode: observe$")
        users = (self.root / "etc/passwd").read_text()
        self.assertRegex(users, r"(?m)^postern-agent:")
        self.assertRegex((self.root / "etc/group").read_text(), r"(?m)^postern:.*:postern-agent$")
        self.assertEqual((self.config.parent / "tls").stat().st_mode & 0o777, 0o700)
        steps = said[said.index("the gate observes"):].splitlines()[1:4]
        self.assertEqual([re.findall(r"posternctl (\w+)", step) for step in steps],
                         [["grant"], ["arm"], ["confirm"]])

    def test_a_ready_configuration_is_kept_without_a_question(self):
        self.write_ready_configuration()
        said = self.install()
        self.assertEqual(self.config.read_text(), "mode: enforce\n")
        left = {path.name for path in self.config.parent.iterdir()}
        self.assertEqual(left, {"agent.yaml", "agent.yaml.d", "tls"})
        self.assertIn("was here before, and is in force", said)
        self.assertNotIn("posternctl arm", said)

    def test_an_edited_configuration_outlives_removal_and_return(self):
        self.install()
        self.config.write_text("mode: enforce\nguard: {ports: [22]}\n")
        self.ledger.parent.mkdir(parents=True)
        self.ledger.write_text("grants")
        self.dpkg("--remove", "postern-agent")
        self.assertFalse((self.root / "usr/sbin/posternd").exists())
        self.assertEqual(self.config.read_text(), "mode: enforce\nguard: {ports: [22]}\n")
        said = self.install()
        self.assertEqual(self.config.read_text(), "mode: enforce\nguard: {ports: [22]}\n")
        self.assertEqual(self.ledger.read_text(), "grants")
        # Who returns knows what to do.
        self.assertNotIn("posternctl arm", said)

    def test_purge_leaves_nothing(self):
        self.install()
        (self.config.parent / "tls/agent.key").write_text("a key")
        self.ledger.parent.mkdir(parents=True)
        self.ledger.write_text("grants")
        self.dpkg("--purge", "postern-agent")
        self.assertFalse(self.config.parent.exists())
        self.assertFalse(self.ledger.parent.exists())
        self.assertEqual(self.enabled(), set())

    def test_the_controller_and_the_agent_share_a_folder_and_nothing_else(self):
        self.install()
        said = self.dpkg("--install", support.deb("postern-controller"))
        self.assertIn("owner.token", said)
        self.assertIn("postern-controller.service", self.enabled())
        self.assertRegex((self.root / "etc/passwd").read_text(), r"(?m)^postern-controller:")
        keys = self.config.parent / "controller-tls"
        self.assertEqual(keys.stat().st_mode & 0o777, 0o700)
        store = self.root / "var/lib/postern-controller/controller.db"
        store.parent.mkdir(parents=True)
        store.write_text("policies")
        (keys / "rest.key").write_text("a key")

        self.dpkg("--purge", "postern-agent")
        left = {path.name for path in self.config.parent.iterdir()}
        self.assertEqual(left, {"controller.yaml", "controller.yaml.d", "controller-tls"})
        self.assertTrue((keys / "rest.key").exists())
        self.dpkg("--remove", "postern-controller")
        self.assertEqual(store.read_text(), "policies")
        self.dpkg("--install", support.deb("postern-agent"))
        self.dpkg("--purge", "postern-controller")
        left = {path.name for path in self.config.parent.iterdir()}
        self.assertEqual(left, {"agent.yaml", "agent.yaml.d", "tls"})
        self.assertFalse(store.parent.exists())
        self.dpkg("--purge", "postern-agent")
        self.assertFalse(self.config.parent.exists())

    def test_a_ready_configuration_of_the_controller_is_kept_without_a_question(self):
        config = self.config.parent / "controller.yaml"
        config.parent.mkdir()
        config.write_text("names: [postern.example.org]\n")
        self.dpkg("--install", support.deb("postern-controller"))
        self.assertEqual(config.read_text(), "names: [postern.example.org]\n")
        left = {path.name for path in config.parent.iterdir()}
        self.assertEqual(left, {"controller.yaml", "controller.yaml.d", "controller-tls"})


if __name__ == "__main__":
    unittest.main()
