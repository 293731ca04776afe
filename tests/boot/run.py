#!/usr/bin/env python3
"""Runs the tests that need a machine of their own; see README.md.

    run.py KERNEL             6.1 or 6.12; all tests, in two machines at a time
    run.py KERNEL TEST...     test_reset, test_clocks.Steps, ..., in one
    run.py KERNEL --shell     a shell in a booted machine with the packages installed
    run.py --images           only makes the cached images
"""

import argparse
import os
import pathlib
import readline  # pylint: disable=unused-import  # for input()
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

# pylint: disable=wrong-import-position
from harness import isolation, lan, packages, root  # noqa: E402
from vm import case, images, programs  # noqa: E402

# What shares a machine. Both mostly wait.
HALVES = (("test_reset", "test_fallbacks", "test_clocks", "test_sleep"), ("test_programs",))


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build",
                        help="holds packages/, release/, and boot/ for what is kept "
                             "(default: %(default)s)")
    parser.add_argument("--images", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shell", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--inside", nargs=2, type=pathlib.Path, metavar=("ROOT", "GROUP"),
                        help=argparse.SUPPRESS)
    parser.add_argument("kernel", nargs="?", choices=images.KERNELS)
    parser.add_argument("test", nargs="*")
    options = parser.parse_args()
    if not (options.kernel or options.images):
        parser.error("name a kernel, or --images")
    options.build = options.build.resolve()
    return options


def outside(options):
    if os.geteuid() != 0:
        sys.exit("run.py: a machine in a network of its own needs root")
    cache = options.build / "boot"
    debs = packages.built(options.build / "packages", packages.HOST_NAMES)
    made = images.ensure(cache, root.dependencies(debs) | programs.dependencies(options.build))
    if options.images:
        return 0
    if not (options.test or options.shell):
        return halves(options)
    (cache / "place").mkdir(exist_ok=True)
    words = ["--shell"] if options.shell else options.test
    # Debian's own Python, whatever else is in the path.
    return isolation.run(["/usr/bin/python3", "-I", str(HERE / "run.py"), options.kernel, *words,
                          "--build", options.build, "--inside", made])


def halves(options):
    """Each in a machine of its own, at a time; the second is told when the first is done."""
    def start(tests, log):
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-I", __file__, "--build",
             options.build, options.kernel, *tests], stdout=log, stderr=log)

    with tempfile.TemporaryFile("w+", encoding="utf-8") as log, start(HALVES[0], None) as first, \
            start(HALVES[1], log) as second:
        statuses = (first.wait(), second.wait())
        log.seek(0)
        print(log.read(), end="", flush=True)
    return 1 if any(statuses) else 0


def inside(options):
    place = options.build / "boot/place"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
    lan.make()
    lan.ip("address", "add", f"{case.SECOND_OPERATOR}/24", "dev", lan.BRIDGE)
    payload = images.payload(place, packages.built(options.build / "packages", packages.HOST_NAMES),
                             programs.paths(options.build, options.kernel)
                             + programs.started(options.build))
    case.set_stage(case.Stage(options.inside[0], options.kernel, payload, place, options.build))
    try:
        if options.shell:
            return shell()
        tests = unittest.defaultTestLoader.loadTestsFromNames(options.test)
        runner = unittest.TextTestRunner(verbosity=2, resultclass=TellingResult)
        return 0 if runner.run(tests).wasSuccessful() else 1
    finally:
        case.remove_machine()


class TellingResult(unittest.TextTestResult):
    """Tells of the machine while it runs."""

    def addError(self, test, err):
        super().addError(test, err)
        case.tell()

    def addFailure(self, test, err):
        super().addFailure(test, err)
        case.tell()


def shell():
    machine = case.installed_machine()
    print(f"The machine is {lan.BOX} and ends with this shell. From outside, as {lan.OPERATOR}:\n"
          f"  nsenter -t {os.getpid()} -a ...   in another terminal")
    while True:
        try:
            done = machine.run("bash", "-c", input("machine# "), check=False)
        except EOFError:
            return 0
        print(done.stdout + done.stderr, end="")


if __name__ == "__main__":
    OPTIONS = parse()
    sys.exit(inside(OPTIONS) if OPTIONS.inside else outside(OPTIONS))
