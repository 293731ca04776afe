"""What every test here stands on: one machine for all, booted and with the packages
installed when the first test asks for it."""

import pathlib
import re
import sys
import time
import unittest
from typing import NamedTuple

from harness import lan
from harness.agent import Agent
from harness.probes import CONTROLS, OPEN_PORT, Probes, everything, reaches
from harness.waiting import wait_for
from vm.machine import PATIENCE, Machine

SECOND_OPERATOR = "192.0.2.2"
# A guarded port on which nobody listens: the kernel's refusal says that a knock
# got in. sshd would start a process for each, which takes an emulated machine longer
# than the time to the next.
PORT = 3389
# An emulated machine that answers each knock has little time for anything else.
INTERVAL = 0.2
# How far an end that is seen from outside may be from the end by the machine's
# clock: knocks, their way, and a busy machine under the emulator. What is exact
# to the tick is judged by the tests that run inside.
SLACK = 3.0


class PatientAgent(Agent):
    """Asked by a posternctl that waits as long as the tests do."""

    def grant(self, *words, source=lan.OPERATOR, port=PORT, duration="10m"):
        return super().grant(*words, source=source, port=port, duration=duration)

    def ctl(self, *words, check=True):
        return super().ctl("--timeout", f"{PATIENCE:.0f}s", *words, check=check)


class Stage(NamedTuple):
    """Set by run.py before the tests are loaded."""
    root: pathlib.Path
    kernel: str
    payload: pathlib.Path
    place: pathlib.Path
    build: pathlib.Path


class Shared:
    """What the tests of one run have in common."""
    stage = None
    machine = None
    # What got in during the first boot, with nothing installed.
    before_install = None
    # None: nobody has asked for it yet.
    is_installed = None


def set_stage(stage):
    Shared.stage = stage


def booted_machine():
    """The one of this run. Where it does not come up, nothing waits for it again."""
    if Shared.machine is None:
        stage = Shared.stage
        Shared.machine = Machine(stage.root, stage.kernel, stage.payload, stage.place)
        Shared.before_install = boot(Shared.machine)
    if Shared.before_install is None:
        raise AssertionError("the machine did not come up: see above")
    return Shared.machine


def installed_machine():
    """The same, with the packages."""
    machine = booted_machine()
    if Shared.is_installed is None:
        Shared.is_installed = False
        install(machine)
        Shared.is_installed = True
    if not Shared.is_installed:
        raise AssertionError("the installation failed: see above")
    return machine


def boot(machine):
    """With nothing installed; what got in."""
    targets = everything()
    probes = Probes(targets, INTERVAL)
    try:
        machine.start()
        machine.wait_up()
        for target in targets:
            probes.wait_answer(target)
    finally:
        probes.stop()
    return probes


def install(machine):
    """With a ready configuration, as an image would bring it."""
    PatientAgent(machine).configure("enforce")
    machine.sh("dpkg --force-confold -i /run/payload/packages/*.deb")
    wait_for(PatientAgent(machine).is_ready, "the agent", PATIENCE)


def tell():
    if Shared.machine is not None:
        Shared.machine.tell()


def remove_machine():
    if Shared.machine is not None:
        Shared.machine.remove()


class OnMachine(unittest.TestCase):
    maxDiff = None
    machine = None

    def say(self, text):
        """For the figures that a run shows."""
        print(f"{text} ... ", end="", file=sys.stderr, flush=True)


class Case(OnMachine):
    """Each test finds an agent that enforces, without grants, and a clock that is
    right."""

    @classmethod
    def setUpClass(cls):
        cls.machine = installed_machine()
        # Tables, from being changed by others.
        cls.protects = Shared.stage.kernel != "6.1"
        cls.agent = PatientAgent(cls.machine)

    def setUp(self):
        self.machine.set_clock()
        if not self.agent.is_ready():
            self.machine.run("systemctl", "restart", "postern-agent.service")
        self.agent.ctl("revoke", "--all")

    def probe(self, *targets, interval=INTERVAL):
        probes = Probes(targets, interval)
        self.addCleanup(probes.stop)
        return probes

    # ---- Judging

    def assert_never_in(self, probes, targets, since=0.0):
        """Ends the probing. The controls must have got in, or nothing was shown."""
        probes.stop()
        for target in CONTROLS:
            self.assertTrue(probes.got_in(target, since), f"nothing got in at all: {target}")
        for target in targets:
            got_in = probes.got_in(target, since)
            self.assertFalse(got_in, f"{len(got_in)} knocks got in: {target}")
        self.say(f"0 of {probes.summary[0]} knocks got in, of the controls "
                 f"{len(probes.got_in(CONTROLS[0], since))}")

    def assert_reaches(self, source=lan.OPERATOR, port=PORT):
        wait_for(lambda: reaches(source, port, 3.0), f"{source} gets to port {port}", 15)

    def assert_blocked(self, source=lan.OPERATOR, port=PORT):
        self.assertFalse(reaches(source, port, 1.5), f"{source} gets to port {port}")
        wait_for(lambda: reaches(source, OPEN_PORT, 3.0), "the machine can be reached", 15)

    def last_in(self, probes, target):
        """When the last knock that got in was sent, on our wall clock."""
        probes.stop()
        answers = probes.got_in(target)
        self.assertTrue(answers, f"nothing got in at all: {target}")
        return max(a.sent for a in answers) + time.time() - time.monotonic()

    def remaining(self):
        """Seconds, until the kernel ends the operator's only element."""
        printed = self.machine.run("nft", "list", "set", "inet", "postern", "keep4_32").stdout
        (found,) = re.findall(rf"{lan.OPERATOR} \. \S+ \. {PORT} [^,}}]*?expires (\w+)", printed)
        unit = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
        return sum(int(n) * unit[u] for n, u in re.findall(r"(\d+)(ms|[dhms])", found))
