"""Every command that the documents tell an operator to type works as it stands there."""

import pathlib
import re
import shlex

from harness import lan
from harness.agent import CONFIGURATION
from harness.case import Case

TOP = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# What azure-cli/run.py types.
AZURE = re.compile(r"^## Azure's clients\n.*?(?=^## )", re.M | re.S)
MANUAL_BLOCK = re.compile(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", re.M | re.S)
INLINE = re.compile(r"`((?:sudo )?(?:posternctl|posternd|journalctl|systemctl|systemd-tmpfiles|df|id|"
                    r"ls)(?: [^`]*)?)`")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of the machine that builds, or what made this box: other tests run those.
ELSEWHERE = ("scripts/", "cmake", "build/", "apt", "rpm", "ctest")
PROGRAMS = ("posternctl", "posternd", "journalctl", "systemctl", "systemd-tmpfiles", "install", "echo",
            "export", "ls", "id", "df", "cat", "runuser", "tar")
# Named only, or for a person at a terminal.
NOT_TYPED = ("posternctl", "posternctl pki", "posternctl vm join-token", "systemctl edit postern-agent")
# Asked of a controller with a fleet, which the tests of the tool have.
OF_A_FLEET = ("posternctl policy", "posternctl request", "posternctl role", "posternctl ssh")
# A refusal is an answer, and a finding is one as well.
ANSWERS = {"check": (0, 1), "doctor": (0, 1), "self": (0, 1)}
# Somebody who came by ssh.
CAME_FROM = f"SSH_CONNECTION='{lan.OPERATOR} 40000 {lan.BOX} 22'"


def read(document):
    return AZURE.sub("", (TOP / "docs" / document).read_text("utf-8"))


def commands(text):
    """Those of a block; of one with a prompt, the lines that have it."""
    lines = text.splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    for line in prompted or lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words and not words[0].startswith(ELSEWHERE) and " ".join(words[:2]) not in OF_A_FLEET:
            yield re.sub(r"\bsudo ", "", line)


def inline(document):
    """Outside its blocks."""
    spans = INLINE.findall(BLOCK.sub("", read(document)))
    return "".join(f"{span}\n" for span in spans if span not in NOT_TYPED)


def displays(page):
    """Of a manual page."""
    return MANUAL_BLOCK.findall(read(f"man/{page}"))


class Documents(Case):
    def run_block(self, text):
        for line in commands(text):
            words = shlex.split(line, comments=True)
            self.assertIn(words[0], PROGRAMS, f"what is this: {line}")
            verb = words[1] if len(words) > 1 else ""
            needs_grant = UUID.search(line) or "=ID" in line
            if words[0] == "posternctl" or needs_grant:
                self.prepare(verb)
            if needs_grant:
                # The one that stands in the examples.
                grant = self.agent.grant(duration="10m")["id"]
                line = UUID.sub(grant, line).replace("=ID", f"={grant}")
            line = line.replace("YOUR-ADDRESS", lan.OPERATOR)
            allowed = ANSWERS.get(verb, (0,))
            if verb == "watch":
                line, allowed = f"timeout 1 {line}", (124,)
            done = self.box.run("bash", "-c", f"export {CAME_FROM} SYSTEMD_PAGER=\n{line}",
                                check=False)
            self.assertIn(done.returncode, allowed, f"{line}: {done.stderr}")
            if verb == "lockdown" and "--lift" not in words:
                self.agent.ctl("lockdown", "--lift")

    def prepare(self, verb):
        """What the commands before may have left."""
        if not self.agent.is_ready():
            self.box.run("systemctl", "start", "postern-agent")
        if verb == "arm":
            self.agent.ctl("disarm", check=False)

    def configure(self, text):
        path = re.match(r"# (\S+)\n", text)[1]
        self.box.write(path, text)
        self.box.run("systemctl", "restart", "postern-agent")
        self.agent.wait_ready()

    def test_the_readme(self):
        self.install(mode=None)
        self.box.install(self.controller_deb)
        for _, text in BLOCK.findall(read("../README.md")):
            self.run_block(text)

    def test_operations(self):
        self.install(mode=None)
        self.box.install(self.exporter_deb, self.controller_deb)
        for kind, text in BLOCK.findall(read("operations.md")):
            if kind == "yaml":
                self.configure(text)
                self.assert_reaches(lan.OPERATOR, 7443)
            else:
                self.run_block(text)
        self.run_block(inline("operations.md"))

    def test_posternd_8(self):
        self.install(mode=None)
        for text in displays("posternd.8"):
            self.run_block(text)

    def test_postern_exporter_8(self):
        self.install(mode=None)
        self.box.install(self.exporter_deb)
        for text in displays("postern-exporter.8"):
            self.run_block(text)
        self.assertEqual(self.box.state("postern-exporter.service"), "active")

    def test_posternctl_1(self):
        self.install(mode=None)
        local, remote, audit, pki, *_controllers = displays("posternctl.1")
        for text in (local, audit, pki):
            self.run_block(text)
        # The host that the remote example is about, and the keys that it names.
        self.box.sh("install -D -m 0600 -t /etc/postern/tls pki/vm1.pem pki/vm1.key pki/ca.pem\n"
                    "cp pki/ca.pem pki/alice.pem pki/alice.key .")
        self.configure("""# /etc/postern/agent.yaml.d/listen.yaml
listen:
  address: "[::]:7443"
  from: [192.0.2.0/24]
  tls: {cert: tls/vm1.pem, key: tls/vm1.key, ca: tls/ca.pem}
  peers:
    - {san: "spiffe://postern/client/alice", role: operator}
""")
        self.box.run_outside("bash", "-ec", remote)
        self.assertEqual(len(self.agent.live()), 1)

    def test_agent_yaml_5(self):
        self.install(mode=None)
        pki = ("posternctl", "pki")
        self.box.run(*pki, "init", "--dir", "/etc/postern/tls")
        self.box.run(*pki, "agent", "--dir", "/etc/postern/tls", "--name", "agent")
        check, drop_in, _, example = displays("agent.yaml.5")
        self.box.write(CONFIGURATION, example)
        self.box.write(f"{CONFIGURATION}.d/limits.yaml", drop_in)
        self.run_block(check)
        self.box.run("systemctl", "restart", "postern-agent")
