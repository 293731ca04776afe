"""A place for a test run that leaves nothing behind, however it ends.

The run gets mount, network and process namespaces of its own: boxes, probers,
bridges and mounts end with its first process, and the firewall and the network
of the machine are out of its reach. Only the control group is outside.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

from harness.waiting import wait_for

GROUP = "postern-e2e-"


def run(command):
    """Runs `command` with the path of its control group added; returns its exit
    status."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _: sys.exit(128 + number))
    base = unified_hierarchy()
    for stale in base.glob(GROUP + "*"):
        if not pathlib.Path("/proc", stale.name.removeprefix(GROUP)).exists():
            remove_group(stale)
    group = base / f"{GROUP}{os.getpid()}"
    group.mkdir()
    process = None
    try:
        # Its end comes with that of this process, even by SIGKILL.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork",
             "--kill-child", "--mount-proc",
             # The first process there has to collect what others leave behind: a box
             # ends with the last of its processes.
             "sh", "-c", '"$@"; exit $?', "sh", *command, group])
        return process.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        if process is not None:
            process.kill()
            process.wait()
        remove_group(group)


def unified_hierarchy():
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            words = line.split()
            if words[words.index("-") + 1] == "cgroup2":
                return pathlib.Path(words[4])
    raise SystemExit("there is no cgroup2 hierarchy mounted, which systemd in a box needs")


def remove_group(group):
    with contextlib.suppress(FileNotFoundError, OSError):
        (group / "cgroup.kill").write_text("1", encoding="ascii")

    def removed():
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
        return True

    wait_for(removed, f"removing {group}", timeout=10)
