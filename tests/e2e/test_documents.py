"""Every command that the documents tell an operator to type works as it stands there."""

import pathlib
import re
import shlex

from harness import lan
from harness.case import Case

TOP = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of the machine that builds, or what made this box: other tests run those.
ELSEWHERE = ("scripts/", "cmake", "build/", "apt", "rpm", "ctest")
PROGRAMS = ("posternctl", "posternd", "journalctl", "systemctl", "install")
# A refusal is an answer, and a finding is one as well.
ANSWERS = {"check": (0, 1), "doctor": (0, 1), "self": (0, 1)}


def blocks(document):
    return [(kind, text) for kind, text in BLOCK.findall((TOP / document).read_text("utf-8"))]


def commands(text):
    """Those of a block; of one with a prompt, the lines that have it."""
    lines = text.splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    for line in prompted or lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words and not words[0].startswith(ELSEWHERE):
            yield words


class Documents(Case):
    def run_block(self, text):
        for words in commands(text):
            self.assertIn(words[0], PROGRAMS, f"what is this: {words}")
            # The one that stands in the examples.
            grant = self.agent.grant(duration="10m")["id"]
            words = [UUID.sub(grant, word) for word in words]
            words = [word.replace("YOUR-ADDRESS", lan.OPERATOR).replace("=ID", f"={grant}")
                     for word in words]
            verb = words[1] if len(words) > 1 else ""
            if verb == "arm":
                self.agent.ctl("disarm", check=False)
            if words[0] in ("journalctl", "systemctl"):
                words = [words[0], "--no-pager", *words[1:]]
            allowed = ANSWERS.get(verb, (0,))
            if verb == "watch":
                words, allowed = ["timeout", "1", *words], (124,)
            done = self.box.run(*words, check=False)
            self.assertIn(done.returncode, allowed, f"{shlex.join(words)}: {done.stderr}")
            if verb == "lockdown":
                self.agent.ctl("lockdown", "--lift", check=False)

    def test_the_readme(self):
        self.install(mode=None)
        for _, text in blocks("README.md"):
            self.run_block(text)

    def test_operations(self):
        self.install(mode=None)
        self.box.install(self.exporter_deb)
        for kind, text in blocks("docs/operations.md"):
            if kind == "yaml":
                path = re.match(r"# (\S+)\n", text)[1]
                self.box.write(path, text)
                self.box.run("systemctl", "restart", "postern-agent")
                self.agent.wait_ready()
                self.assert_reaches(lan.OPERATOR, 7443)
            else:
                self.run_block(text)
