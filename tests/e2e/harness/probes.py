"""Probing a box from outside while something happens to it."""

import pathlib
import socket
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from harness import lan
from harness.waiting import wait_for

PROBER = pathlib.Path(__file__).with_name("prober.py")
INTERVAL = 0.004
# Guarded by nobody, and nobody listens: what answers here says that the way to
# the box was open.
OPEN_PORT = 9022


class Target(NamedTuple):
    source: str = lan.STRANGER
    port: int = 22
    protocol: str = "tcp"
    host: str = lan.BOX

    def __str__(self):
        return f"{self.source} to {self.host} port {self.port}/{self.protocol}"


class Answer(NamedTuple):
    sent: float
    answered: float
    how: str


def everything(source=lan.STRANGER, source6=lan.STRANGER6):
    """A guarded port by every way there is."""
    return [Target(source, 22), Target(source, 3389, "udp"),
            Target(source6, 22, host=lan.BOX6), Target(source6, 3389, "udp", lan.BOX6)]


def reaches(source, port, timeout=0.7):
    """Whether one connection from `source` gets to the box, and somebody or nobody
    answers."""
    try:
        socket.create_connection((lan.BOX, port), timeout, (source, 0)).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


# What must get in whenever anything could.
CONTROL = Target(port=OPEN_PORT)
CONTROLS = [CONTROL, Target(lan.STRANGER6, OPEN_PORT, host=lan.BOX6)]


class Probes:
    """Knocks at `targets` and at the controls until stop()."""

    def __init__(self, targets, interval=INTERVAL):
        self.targets = [*CONTROLS, *targets]
        self.answers = {target: [] for target in self.targets}
        self.summary = None
        words = [f"{t.source},{t.host},{t.protocol},{t.port}" for t in self.targets]
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [sys.executable, "-I", PROBER, str(interval), *words], stdout=subprocess.PIPE,
            text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "end":
                self.summary = (int(words[1]), float(words[2]))
            else:
                self.answers[self.targets[int(words[0])]].append(
                    Answer(float(words[1]), float(words[2]), words[3]))

    def wait_answer(self, target=CONTROL, after=None):
        """Until a knock sent from now on was answered."""
        after = time.monotonic() if after is None else after
        return wait_for(lambda: next((a for a in reversed(self.answers[target]) if a.sent > after),
                                     None), f"an answer from {target}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.reader.join()
        if self.process.wait() != 0 or self.summary is None:
            raise AssertionError("the prober failed")

    def got_in(self, target, since=0.0, until=float("inf")):
        return [a for a in self.answers[target] if a.sent >= since and a.answered <= until]

    def longest_silence(self, target, since, until):
        """The longest time between answers of a target that should always answer."""
        times = [since, *(a.answered for a in self.got_in(target, since, until)), until]
        return max(later - earlier for earlier, later in zip(times, times[1:]))
