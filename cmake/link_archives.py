"""Runs a link command with archives in place of some shared libraries.

    link_archives.py NAME,NAME,... COMMAND...

Where COMMAND names lib<NAME>.so or -l<NAME>, and <NAME> is one of the names, that
argument goes; the archives of all names come in one group instead, in the place of the
last.
"""

import os
import re
import sys


def main(names, command):
    names = names.split(",")
    shared = re.compile(r"(?:.*/lib|-l)(.+?)(?:\.so[.\d]*)?")
    place = None
    linked = []
    for argument in command:
        match = shared.fullmatch(argument)
        if match and match[1] in names and not argument.endswith((".a", ".o")):
            # The last of what is replaced: the objects before it are all seen by then.
            place = len(linked)
        else:
            linked.append(argument)
    if place is None:
        sys.exit(f"link_archives: the command links none of {', '.join(names)}")
    # What the archives need of the other shared libraries, the linker has passed by then.
    others = [argument for argument in linked if re.search(r"\.so[.\d]*$", argument)]
    linked[place:place] = ["-Wl,--start-group", *(f"-l:lib{name}.a" for name in names),
                           "-Wl,--end-group", *others]
    os.execvp(linked[0], linked)


main(sys.argv[1], sys.argv[2:])
