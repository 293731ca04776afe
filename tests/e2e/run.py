#!/usr/bin/env python3
"""Runs the tests of the packages in booted systems; see README.md.

    run.py TEST...       modules, classes or cases: test_install, test_reboot.Reboot.test_...
    run.py --root        only makes the cached root
    run.py --shell       a shell in a booted box with the packages installed
"""

import argparse
import os
import pathlib
import subprocess
import sys
import unittest

# Also as root, in the source tree of somebody else.
sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# pylint: disable=wrong-import-position
from harness import case, isolation, lan, packages, root  # noqa: E402
from harness.box import ENVIRONMENT, Box  # noqa: E402


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build",
                        help="holds packages/, and e2e/ for what is kept (default: %(default)s)")
    parser.add_argument("--root", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shell", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inside", nargs=2, type=pathlib.Path, metavar=("TREE", "GROUP"),
                        help=argparse.SUPPRESS)
    parser.add_argument("test", nargs="*")
    options = parser.parse_args()
    if not (options.test or options.root or options.shell):
        parser.error("name a test, --root or --shell")
    return options


def outside(options):
    if os.geteuid() != 0:
        sys.exit("run.py: booting systems needs root")
    cache = options.build / "e2e"
    made = root.ensure(cache, packages.built(options.build / "packages"))
    if options.root:
        return 0
    (cache / "place").mkdir(exist_ok=True)
    words = ["--shell"] if options.shell else options.test
    # Debian's own Python, whatever else is in the path.
    return isolation.run(["/usr/bin/python3", "-I", str(HERE / "run.py"), *words,
                          "--build", options.build, "--inside", made / "tree"])


def inside(options):
    tree, group = options.inside
    place = options.build / "e2e/place"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
    lan.make()
    previous = [packages.program(options.build, f"previous/{name}")
                for name in ("posternd", "posternctl")]
    case.set_stage(case.Stage(tree, place, group, packages.built(options.build / "packages"),
                              previous, packages.program(options.build, "calls")))
    if options.shell:
        return shell(tree, place, group)
    tests = unittest.defaultTestLoader.loadTestsFromNames(options.test)
    runner = unittest.TextTestRunner(verbosity=2, resultclass=TellingResult)
    return 0 if runner.run(tests).wasSuccessful() else 1


class TellingResult(unittest.TextTestResult):
    """Tells of the boxes while they stand."""

    def addError(self, test, err):
        super().addError(test, err)
        self.tell()

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell()

    @staticmethod
    def tell():
        if case.BOXES:
            case.BOXES[-1].tell()


def shell(tree, place, group):
    box = Box(tree, place, group)
    box.boot()
    print(box.install(*case.STAGE.debs))
    run = group.name.removeprefix(isolation.GROUP)
    print(f"""The box is {lan.BOX}, and ends with this shell. To knock at it, in another terminal:
  nsenter --net -t $(pgrep -P {run}) bash
where you are {lan.OPERATOR} or {lan.STRANGER}.""")
    return subprocess.call(box.inside("bash", "-l"), env=dict(ENVIRONMENT, TERM=os.environ["TERM"]))


if __name__ == "__main__":
    OPTIONS = parse()
    sys.exit(inside(OPTIONS) if OPTIONS.inside else outside(OPTIONS))
