"""The tests of the kernel tier, on the machine's kernel."""

import pathlib
import re

from vm import programs
from vm.case import Case

# Long under the emulator; see how long each takes in the log.
LIMIT = 300


class Programs(Case):
    """A method for each program."""


def method(name):
    def run(self):
        path = f"/run/payload/programs/{name}"
        done = self.machine.run("timeout", str(LIMIT), path, "--gtest_brief=1", check=False,
                                timeout=LIMIT + 60)
        if done.returncode != 0:
            self.fail(f"exit {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
        self.say(re.sub(r"\s+", " ", done.stdout)[-200:])
    return run


for program in programs.NAMES:
    setattr(Programs, f"test_{pathlib.Path(program).name}", method(pathlib.Path(program).name))
