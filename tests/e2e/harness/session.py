"""A real ssh session into a box, which ticks as long as it lives."""

import subprocess
import threading
import time

from harness import lan
from harness.box import ENVIRONMENT
from harness.waiting import wait_for

OPTIONS = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
           "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "LogLevel=ERROR")
# The time in the box, again and again.
TICKS = "while date +%s.%N; do sleep 0.05; done"


def ssh(source=lan.OPERATOR, command="true"):
    """The words of an ssh client; for Box.outside."""
    return ["ssh", *OPTIONS, "-b", source, f"root@{lan.BOX}", command]


class Session:
    def __init__(self, box, source=lan.OPERATOR):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            box.outside(*ssh(source, TICKS)), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # Of the last tick: CLOCK_MONOTONIC when it came, the wall clock when it left.
        self.last = None
        self.said = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_tick("a session that starts")

    def _read(self):
        for line in self.process.stdout:
            try:
                self.last = (time.monotonic(), float(line))
            except ValueError:
                self.said.append(line)

    def wait_tick(self, what="a session that lives"):
        """Until one that comes after this call."""
        now = time.monotonic()

        def ticked():
            if self.process.poll() is not None:
                raise AssertionError(f"{what}: ssh ended with {self.process.returncode}: "
                                     f"{''.join(self.said)}")
            return self.last is not None and self.last[0] > now
        wait_for(ticked, what)

    def wait_silence(self, length=1.5):
        """Until nothing came for `length` seconds; returns when the last tick left."""
        wait_for(lambda: time.monotonic() - self.last[0] > length, "the end of the ticks")
        return self.last[1]

    def is_alive(self):
        return self.process.poll() is None

    def close(self):
        if self.is_alive():
            self.process.kill()
        self.process.wait()
        self.reader.join()
