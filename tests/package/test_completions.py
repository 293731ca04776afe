"""The completions and manual pages in the packages know every command and option
that the programs' --help knows."""

import os
import pathlib
import re
import unittest

import support
from support import run

# Loads a completion, and prints what it offers for the words given, one a line.
BASH = """
shopt -s expand_aliases; compopt() { :; }; source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_posternctl && printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "source $argv[1]; complete -C \"$argv[2]\" | string split -f 1 \\t"
# A terminal of its own; what is offered is written to $OFFERED.
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "source ${(q)1}"
until [[ $line == *'<<ready>>'* ]]; do zpty -r shell line || exit 1; done
zpty -w -n shell "$2"$'\\t\\C-x'
until [[ $line == *'<<done>>'* ]]; do zpty -r shell line || exit 1; done
"""
ZSH_SETUP = """
stty -echo
fpath=({folder} $fpath)
autoload -Uz compinit
compinit -u -d {folder}.dump
compadd() {{
  local -a offered
  if [[ ${{@[(I)-[OAD]*]}} -eq 0 ]]; then
    builtin compadd -O offered "$@"
    print -rl -- $offered >>$OFFERED
  fi
  builtin compadd "$@"
}}
finished() {{ print '<<done>>' }}
zle -N finished
bindkey '^I' complete-word '^X' finished
LISTMAX=10000
print '<<ready>>'
"""


def read_help(program, path):
    """(subcommands, long options) in --help, by the place where each line has them."""
    text = run(program, *path, "--help").split("Examples:")[0]
    listed = text.split("Subcommands:")[1] if "Subcommands:" in text else ""
    verbs = re.findall(r"(?m)^  ([a-z][a-z-]*) ", listed)
    options = re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+)", text.split("Subcommands:")[0])
    return verbs, set(options)


def every_verb(program):
    """(path, subcommands, long options) of each, posternctl itself first."""
    found, paths = [], [[]]
    while paths:
        path = paths.pop(0)
        verbs, options = read_help(program, path)
        found.append((path, verbs, options))
        paths += [[*path, verb] for verb in verbs]
    return found


class Posternctl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = support.Folder()
        cls.addClassCleanup(folder.remove)
        cls.root = support.unpacked("postern-cli", folder)
        cls.program = cls.root / "usr/bin/posternctl"
        cls.verbs = every_verb(cls.program)
        _, _, cls.everywhere = cls.verbs[0]

    def setUp(self):
        # A typo in what reads the help must not make the tests easy.
        self.assertIn((["pki"], ["init", "agent", "controller", "client"], {"--help"}), self.verbs)
        self.assertIn("--socket", self.everywhere)
        self.assertGreater(len(self.verbs), 18)

    def check(self, offered):
        """`offered` gives what a shell offers for a list of words, the last unfinished."""
        for path, verbs, options in self.verbs:
            with self.subTest(verb=" ".join(path) or "posternctl"):
                if verbs:
                    self.assertEqual(offered([*path, ""]), set(verbs))
                self.assertEqual(offered([*path, "--"]) - {"-h", "-o"}, options | self.everywhere)
        self.assertEqual(offered(["-o", ""]), {"table", "json", "yaml"})
        self.assertEqual(offered(["grant", "--on-expiry", ""]), {"keep", "cut", "reset"})
        # Options and their values before the verb, or after it, do not hide it.
        self.assertEqual(offered(["-o", "json", "pki", "--timeout", "5s", ""]),
                         {"init", "agent", "controller", "client"})
        self.assertEqual(offered(["--socket", "grant", "audit", "--f"]), {"--format"})

    def test_bash(self):
        script = self.root / "usr/share/bash-completion/completions/posternctl"

        def offered(words):
            return set(run("bash", "--norc", "-c", BASH, "bash", script, "posternctl",
                           *words).split())
        self.check(offered)

    def test_fish(self):
        script = self.root / "usr/share/fish/vendor_completions.d/posternctl.fish"
        folder = support.Folder()
        self.addCleanup(folder.remove)

        def offered(words):
            return set(run("fish", "--no-config", "-c", FISH, script,
                           " ".join(["posternctl", *words]),
                           env=os.environ | {"HOME": str(folder.path)}).split())
        self.check(offered)

    def test_zsh(self):
        folder = support.Folder()
        self.addCleanup(folder.remove)
        setup, answers = folder.path / "setup.zsh", folder.path / "offered"
        setup.write_text(ZSH_SETUP.format(
            folder=self.root / "usr/share/zsh/vendor-completions"))

        def offered(words):
            answers.write_text("")
            run("zsh", "-f", "-c", ZSH, "zsh", setup, " ".join(["posternctl", *words]), timeout=60,
                env=os.environ | {"OFFERED": str(answers), "TERM": "dumb"})
            return set(answers.read_text().split())
        self.check(offered)

    def test_manual(self):
        page = (support.TOP / "docs/man/posternctl.1").read_text()
        for path, verbs, options in self.verbs[1:]:
            if not verbs:
                start = re.search(rf"(?m)^(?:\.It )?(?:\.?Xo\n\.)?Cm {' '.join(path)}\b", page)
                self.assertTrue(start, f"{' '.join(path)} is not in posternctl(1)")
                # All that is said of one verb, or of several of one kind.
                item = re.split(r"(?m)^\.El", page[start.start():])[0]
                for option in options - {"--help"}:
                    self.assertIn(f"Fl {option[1:]}", item, " ".join(path))
        for option in self.everywhere:
            self.assertRegex(page, rf"(?m)^\.It Fl (\w , )?{option[1:]}\b")


class Manuals(unittest.TestCase):
    def test_the_daemons_pages_have_every_option(self):
        for program, one in (("agent/posternd", "--lockdown"),
                             ("controller/postern-controller", "--make-token")):
            _, options = read_help(support.BUILD / program, [])
            self.assertIn(one, options)
            page = (support.TOP / f"docs/man/{pathlib.Path(program).name}.8").read_text()
            for option in options:
                self.assertRegex(page, rf"(?m)^\.It Fl (\w , )?{option[1:]}\b")

    def test_pages_are_sound_and_have_examples(self):
        for page in sorted((support.TOP / "docs/man").iterdir()):
            self.assertEqual(run("mandoc", "-T", "lint", "-W", "warning", page), "")
            self.assertIn(".Sh EXAMPLES", page.read_text())


if __name__ == "__main__":
    unittest.main()
