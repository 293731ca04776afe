"""Writes posternctl's completions for bash, zsh and fish from its own --help.

    generate.py POSTERNCTL FOLDER

The files in FOLDER are called bash, zsh and fish.
"""

import dataclasses
import pathlib
import re
import string
import subprocess
import sys

OPTION = re.compile(r"  (-\S+)(?: ([^\s(]\S*))?(?: \(required\))?(?:\s+(\S.*))?")
POSITIONAL = re.compile(r"  ([A-Z]+) \S+(?: \(required\))?\s+\S.*")
SUBCOMMAND = re.compile(r"  ([a-z]\S*)\s+(\S.*)")
# The help of an option goes on in the next line.
DEEP = " " * 32
# What follows an option, where a file name does.
FILES, FOLDERS = ("FILE", "PATH"), ("DIR",)


@dataclasses.dataclass
class Option:
    names: list
    # Empty for a flag.
    type: str
    help: str

    @property
    def choices(self):
        return self.type.split("|") if "|" in self.type else []


@dataclasses.dataclass
class Verb:
    # Such as ["pki", "init"]; empty for posternctl itself.
    path: list
    help: str
    options: list = dataclasses.field(default_factory=list)
    takes_grant: bool = False
    verbs: list = dataclasses.field(default_factory=list)

    @property
    def name(self):
        return " ".join(self.path)


def read(posternctl, path, description=""):
    """The grammar from this verb on, as --help has it."""
    verb = Verb(path, description)
    text = subprocess.run([posternctl, *path, "--help"], check=True, capture_output=True,
                          text=True, env={}).stdout
    section = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            section = line
        elif section == "Subcommands:" and (match := SUBCOMMAND.fullmatch(line)):
            verb.verbs.append(read(posternctl, [*path, match[1]], match[2]))
        elif section == "Positionals:" and (match := POSITIONAL.fullmatch(line)):
            verb.takes_grant = verb.takes_grant or match[1] == "ID"
        elif section != "Examples:" and (match := OPTION.fullmatch(line)):
            kind = (match[2] or "").split("=")[0]
            verb.options.append(Option(match[1].split(","), kind, match[3] or ""))
        elif section != "Examples:" and verb.options and line.startswith(DEEP):
            verb.options[-1].help += " " + line.strip()
    return verb


def flatten(verb):
    """The verb and all below it."""
    return [verb] + [each for below in verb.verbs for each in flatten(below)]


def words(options):
    return " ".join(name for option in options for name in option.names)


BASH = string.Template("""\
# bash completion for posternctl; generated from its --help.

_posternctl_grants() {
  posternctl --timeout 2s grants 2>/dev/null |
    while read -r id _; do [[ $$id == *-*-*-*-* ]] && echo "$$id"; done
}

_posternctl() {
  local word=$${COMP_WORDS[COMP_CWORD]} before='' verb='' i
  ((COMP_CWORD)) && before=$${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case $${COMP_WORDS[i]} in
      $valued) ((++i)) ;;
      -*) ;;
      *)
        case $$verb/$${COMP_WORDS[i]} in
          $verbs) verb+=$${verb:+ }$${COMP_WORDS[i]} ;;
        esac
        ;;
    esac
  done

  case $$verb/$$before in
$values
    $silent) return ;;
  esac
  if [[ $$word == -* ]]; then
    local options='$global_words'
    case $$verb in
$options
    esac
    mapfile -t COMPREPLY < <(compgen -W "$$options" -- "$$word")
    return
  fi
  case $$verb in
$words
  esac
}

complete -F _posternctl posternctl
""")


def bash(root):
    every = flatten(root)

    def own(verb):
        return [option for option in verb.options if option not in root.options]

    def value(option):
        if option.choices:
            return f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(option.choices)}' -- \"$word\")"
        if option.type in FILES:
            return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")'
        if option.type in FOLDERS:
            return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word")'
        return None

    def values(verb):
        where = "*" if verb is root else f"'{verb.name}'"
        return [f"    {'|'.join(f'{where}/{name}' for name in option.names)}) "
                f"{value(option)}; return ;;" for option in verb.options if value(option)]

    def replies(verb):
        if verb.verbs:
            names = " ".join(below.path[-1] for below in verb.verbs)
            return [f"    '{verb.name}') mapfile -t COMPREPLY < <(compgen -W '{names}' "
                    '-- "$word") ;;']
        if verb.takes_grant:
            return [f"    '{verb.name}') mapfile -t COMPREPLY < "
                    '<(compgen -W "$(_posternctl_grants)" -- "$word") ;;']
        return []

    valued = sorted({name for verb in every for option in verb.options if option.type
                     for name in option.names})
    return BASH.substitute(
        valued="|".join(valued),
        silent="|".join(f"*/{name}" for name in valued),
        verbs="|".join(f"'{' '.join(verb.path[:-1])}'/{verb.path[-1]}" for verb in every[1:]),
        # A verb's own option goes before one of the same name of the whole tool.
        values="\n".join(line for verb in [*every[1:], root] for line in values(verb)),
        global_words=words(root.options),
        options="\n".join(f"      '{verb.name}') options+=' {words(own(verb))}' ;;"
                          for verb in every[1:] if own(verb)),
        words="\n".join(line for verb in every for line in replies(verb)))


ZSH = string.Template("""\
#compdef posternctl
# zsh completion for posternctl; generated from its --help.

_posternctl_grants() {
  local -a ids
  ids=($${$${(f)"$$(posternctl --timeout 2s grants 2>/dev/null)"}%% *})
  compadd -a - ids
}

_posternctl() {
  local curcontext=$$curcontext state line
  local -a everywhere verbs
  typeset -A opt_args
  everywhere=(
$everywhere
  )
$functions
}

_posternctl "$$@"
""")


def zsh(root):
    def quote(text):
        return text.replace("'", "'\\''")

    def explain(text):
        return quote(re.sub(r"([\[\]:\\])", r"\\\1", text))

    def spec(option):
        many = "repeatable" in option.help
        names = ("{" + ",".join(option.names) + "}") if len(option.names) > 1 else option.names[0]
        start = "'*'" if many else f"'({' '.join(option.names)})'"
        if not option.type:
            return f"{start}{names}'[{explain(option.help)}]'"
        action = (f"({' '.join(option.choices)})" if option.choices else
                  "_files" if option.type in FILES else
                  "_files -/" if option.type in FOLDERS else " ")
        kind = "value" if option.choices else explain(option.type)
        return f"{start}{names}'[{explain(option.help)}]:{kind}:{action}'"

    def body(verb, indent):
        """What completes the words after the verb."""
        pad = " " * indent
        own = [f"{pad}  {spec(option)} \\" for option in verb.options
               if option.names[-1] not in known]
        lines = [f"{pad}_arguments -C $everywhere \\", *own]
        if not verb.verbs:
            last = "'1:grant:_posternctl_grants'" if verb.takes_grant else "&& return"
            return [*lines, f"{pad}  {last}"]
        lines += [f"{pad}  '(-)1: :->verb' '(-)*:: :->rest' && return",
                  f"{pad}case $state in",
                  f"{pad}  verb)",
                  f"{pad}    verbs=("]
        lines += [f"{pad}      '{below.path[-1]}:{quote(below.help)}'" for below in verb.verbs]
        lines += [f"{pad}    )",
                  f"{pad}    _describe -t commands command verbs",
                  f"{pad}    ;;",
                  f"{pad}  rest)",
                  f"{pad}    case $line[1] in"]
        for below in verb.verbs:
            lines += [f"{pad}      {below.path[-1]})", *body(below, indent + 8), f"{pad}        ;;"]
        return [*lines, f"{pad}    esac", f"{pad}    ;;", f"{pad}esac"]

    known = {option.names[-1] for option in root.options}
    return ZSH.substitute(
        everywhere="\n".join(f"    {spec(option)}" for option in root.options),
        functions="\n".join(body(root, 2)))


FISH = string.Template("""\
# fish completion for posternctl; generated from its --help.

function __posternctl_grants
    posternctl --timeout 2s grants 2>/dev/null | string match -r -- '^[0-9a-f]+-[0-9a-f]+-\\S+'
end

# The verbs on the line so far, without options and their values.
function __posternctl_at
    set -l verbs
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $$skip = 1
            set skip 0
        else if contains -- $$word $valued
            set skip 1
        else if not string match -q -- '-*' $$word
            set -a verbs $$word
        end
    end
    set -l wanted (string split -n ' ' -- $$argv[1])
    set -l count (count $$wanted)
    if test (count $$verbs) -lt $$count
        return 1
    end
    if test $$count -gt 0; and test "$$verbs[1..$$count]" != "$$argv[1]"
        return 1
    end
    test "$$argv[2]" != exactly; or test (count $$verbs) -eq $$count
end

complete -c posternctl -f
""")


def fish(root):
    def quote(text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    every = flatten(root)
    lines = []
    for verb in every:
        for option in verb.options:
            line = f"complete -c posternctl -n \"__posternctl_at '{verb.name}'\""
            for name in option.names:
                line += f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
            if option.choices:
                line += f" -x -a {quote(' '.join(option.choices))}"
            elif option.type in FILES + FOLDERS:
                line += " -r -F"
            elif option.type:
                line += " -x"
            lines.append(f"{line} -d {quote(option.help)}")
        for below in verb.verbs:
            lines.append(f"complete -c posternctl -n \"__posternctl_at '{verb.name}' exactly\" "
                         f"-a {below.path[-1]} -d {quote(below.help)}")
        if verb.takes_grant:
            lines.append(f"complete -c posternctl -n \"__posternctl_at '{verb.name}' exactly\" "
                         "-a '(__posternctl_grants)'")
    valued = " ".join(sorted({name for verb in every for option in verb.options if option.type
                              for name in option.names}))
    return FISH.substitute(valued=valued) + "\n".join(lines) + "\n"


def main(posternctl, folder):
    root = read(posternctl, [])
    for write in bash, zsh, fish:
        pathlib.Path(folder, write.__name__).write_text(write(root))


main(*sys.argv[1:])
