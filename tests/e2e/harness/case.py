"""What every test case here stands on."""

import pathlib
import sys
import unittest
from typing import NamedTuple

from harness import lan, packages
from harness.agent import Agent
from harness.box import Box
from harness.probes import CONTROLS, OPEN_PORT, Probes, reaches
from harness.session import Session


class Stage(NamedTuple):
    """Set by run.py before the tests are loaded."""
    tree: pathlib.Path
    place: pathlib.Path
    group: pathlib.Path
    debs: list
    # Programs of the version before.
    previous: list
    # Asks what posternctl does not.
    calls: pathlib.Path


STAGE = None
# What a failure is told with.
BOXES = []


def set_stage(stage):
    global STAGE
    STAGE = stage


class Case(unittest.TestCase):
    """Each test has a box of its own: off at first."""

    maxDiff = None

    def setUp(self):
        self.box = Box(STAGE.tree, STAGE.place, STAGE.group, f"box{len(BOXES) + 1}")
        BOXES.append(self.box)
        self.addCleanup(self.box.remove)
        self.agent = Agent(self.box)

    @property
    def debs(self):
        """What every host has."""
        return STAGE.debs[:2]

    @property
    def exporter_deb(self):
        return STAGE.debs[2]

    @property
    def controller_deb(self):
        return STAGE.debs[3]

    def previous_debs(self):
        return packages.repacked(self.debs, packages.PREVIOUS, STAGE.place, STAGE.previous)

    def previous_controller_deb(self):
        """The same program, packed as the version before."""
        return packages.repacked([self.controller_deb], packages.PREVIOUS, STAGE.place, [])[0]

    def install(self, mode="enforce", more=""):
        """A booted box with the packages installed and that configuration; with
        mode=None, the package's own."""
        if mode is not None:
            self.agent.configure(mode, more)
        self.box.boot()
        output = self.box.install(*self.debs)
        self.agent.wait_ready()
        return output

    def probe(self, *targets, **options):
        probes = Probes(targets, **options)
        self.addCleanup(probes.stop)
        return probes

    def session(self, **options):
        session = Session(self.box, **options)
        self.addCleanup(session.close)
        return session

    # ---- Judging

    def assert_never_in(self, probes, targets, since=0.0):
        """Ends the probing. The controls must have got in, or nothing was shown."""
        probes.stop()
        for target in CONTROLS:
            self.assertTrue(probes.got_in(target, since), f"nothing got in at all: {target}")
        for target in targets:
            got_in = probes.got_in(target, since)
            first = probes.got_in(CONTROLS[0], since)[0]
            self.assertEqual(len(got_in), 0, f"knocks got in: {target}, {got_in[:1]} to "
                             f"{got_in[-1:]} on CLOCK_MONOTONIC; the first control {first}")
        attempts, pause = probes.summary
        print(f"0 of {attempts} knocks got in without a grant (controls: "
              f"{len(probes.got_in(CONTROLS[0]))}; longest pause {pause * 1000:.0f} ms) ... ",
              end="", file=sys.stderr, flush=True)

    def assert_always_in(self, probes, target, since, until):
        """After the probing ended."""
        # As far as a prober on a busy machine can tell.
        allowed = max(1.0, 4 * probes.summary[1])
        self.assertLess(probes.longest_silence(target, since, until), allowed,
                        f"{target} was closed for a while")

    def assert_reaches(self, source=lan.OPERATOR, port=22):
        self.assertTrue(reaches(source, port, timeout=5), f"{source} does not get to port {port}")

    def assert_blocked(self, source=lan.STRANGER, port=22):
        self.assertFalse(reaches(source, port), f"{source} gets to port {port}")
        self.assertTrue(reaches(source, OPEN_PORT, timeout=5), "the box cannot be reached at all")
