"""The tests of the kernel tier, on the machine's kernel."""

import re

from vm import case, programs

# Long under the emulator; see how long each takes in the log.
LIMIT = 300


class Programs(case.OnMachine):
    """A method for each program."""

    @classmethod
    def setUpClass(cls):
        cls.machine = case.booted_machine()
        for path in programs.started(case.Shared.stage.build):
            cls.machine.sh(f"mkdir -p {path.parent}; ln -sf /run/payload/programs/{path.name} {path}")


def method(name):
    def run(self):
        path = f"/run/payload/programs/{name}"
        done = self.machine.run("timeout", str(LIMIT), path, "--gtest_brief=1", check=False,
                                timeout=LIMIT + 60)
        if done.returncode != 0:
            self.fail(f"exit {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
        self.say(re.sub(r"\s+", " ", done.stdout)[-200:])
    return run


for program in programs.paths(case.Shared.stage.build, case.Shared.stage.kernel):
    setattr(Programs, f"test_{program.name}", method(program.name))
