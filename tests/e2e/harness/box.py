"""A Debian 12 system with systemd as PID 1, in a container."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys

from harness import lan
from harness.waiting import PATIENCE, wait_for

# nspawn's exit status when the box wants to boot again.
REBOOT = 133
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb",
               "DEBIAN_FRONTEND": "noninteractive"}


class CommandFailed(AssertionError):
    def __init__(self, words, done):
        super().__init__(f"{' '.join(map(str, words))}: exit {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
        self.returncode = done.returncode
        self.stdout, self.stderr = done.stdout, done.stderr


class Box:
    """Its files are an overlay over the cached root, in memory."""

    def __init__(self, tree, place, group, name="box"):
        self.name = name
        self.group = group / name
        self.files = place / name / "root"
        self.console = place / name / "console"
        self.process = None
        self.leader = None
        self.boots = 0
        for folder in ("root", "upper", "work"):
            (place / name / folder).mkdir(parents=True)
        self.group.mkdir()
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={tree},upperdir={place / name}/upper,workdir={place / name}/work",
             self.files], check=True)

    # ---- Power

    def boot(self, wait=True):
        """With `wait`, until systemd has started everything."""
        self.leader = None
        self.boots += 1
        with open(self.console, "ab") as console:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(
                ["sh", "-c", 'echo $$ >"$0" && exec "$@"', self.group / "cgroup.procs",
                 "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
                 f"--network-bridge={lan.BRIDGE}", "--console=pipe", "--link-journal=no",
                 "--capability=CAP_BPF", "--system-call-filter=bpf", "-M", self.name,
                 "-D", self.files],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"))
        self.leader = wait_for(self._find_leader, "nspawn's first process")
        if wait:
            self.wait_up()

    def _find_leader(self):
        if self.process.poll() is not None:
            raise AssertionError(f"nspawn ended with {self.process.returncode}:\n"
                                 f"{self.console.read_text(errors='replace')[-4000:]}")
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            for child in children.read_text(encoding="ascii").split():
                if pathlib.Path(f"/proc/{child}/comm").read_text(encoding="utf-8") == "systemd\n":
                    return int(child)
        return None

    def wait_up(self):
        """Until the jobs of the boot are done, whether or not all went well."""
        def up():
            self._find_leader()
            done = self.run("systemctl", "is-system-running", "--wait", check=False)
            return done.stdout.strip() in ("running", "degraded")
        wait_for(up, "the end of the boot")
        if self.boots == 1:
            lan.remember_neighbour(self.run("ip", "-json", "link", "show", "host0").stdout)

    def reboot(self, wait=True):
        """An orderly one."""
        self.run("systemctl", "--no-block", "reboot")
        status = self.process.wait(PATIENCE)
        if status != REBOOT:
            raise AssertionError(f"nspawn ended with {status}, not {REBOOT}, at a reboot")
        self.boot(wait)

    def power_cut(self):
        """What is on the disk stays. boot() switches it on again."""
        os.kill(self.leader, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.leader = None

    def shut_down(self):
        self.run("systemctl", "--no-block", "poweroff")
        self.process.wait(PATIENCE)
        self.leader = None

    def is_on(self):
        return self.leader is not None and self.process.poll() is None

    # ---- In it

    def inside(self, *words):
        """The command that runs `words` in the box, as root."""
        return ["nsenter", "-t", str(self.leader), "-a", "--", *map(str, words)]

    def run(self, *words, check=True, timeout=PATIENCE, stdin=None):
        return finish(words, self.inside(*words), check, timeout, stdin)

    def sh(self, script, **options):
        return self.run("sh", "-ec", script, **options).stdout

    def start(self, *words, **options):
        """In the background; the caller ends it."""
        return subprocess.Popen(self.inside(*words), env=ENVIRONMENT, text=True,
                                stdin=subprocess.DEVNULL, **options)

    def path(self, name):
        """Where the file of the box is for us. /run, /tmp and what the box mounts
        are not there."""
        return self.files / name.lstrip("/")

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def install(self, *debs):
        """By apt, as an operator would; what apt printed."""
        names = []
        for deb in debs:
            names.append(f"/var/cache/{deb.name}")
            self.path(names[-1]).write_bytes(deb.read_bytes())
        return self.apt("install", *names)

    def apt(self, *words):
        done = self.run("apt-get", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", *words,
                        timeout=120)
        return done.stdout + done.stderr

    # ---- From outside

    def outside(self, *words):
        """The command that runs a program of the box's files in the network before
        its door."""
        return ["chroot", self.files, *map(str, words)]

    def run_outside(self, *words, check=True, timeout=PATIENCE):
        return finish(words, self.outside(*words), check, timeout)

    # ---- What it says

    def show(self, unit, *properties):
        """Properties of a unit, as a dict."""
        done = self.run("systemctl", "show", unit, *(f"--property={p}" for p in properties))
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def state(self, unit):
        return self.show(unit, "ActiveState")["ActiveState"]

    def journal(self, *words):
        """Also of a box that is off."""
        if self.is_on():
            return self.run("journalctl", "--no-pager", *words).stdout
        return finish(words, ["journalctl", "--no-pager", "-D", self.files / "var/log/journal",
                              *words], False, PATIENCE).stdout

    def tell(self):
        """What helps to understand a failure. The journal's times are on the probers'
        clock."""
        console = re.sub("\x1b[[][0-9;]*m", "", self.console.read_text(errors="replace"))
        print(f"---- console of {self.name}\n{console[-3000:]}"
              f"---- journal of {self.name}, which is {'on' if self.is_on() else 'off'}\n",
              file=sys.stderr)
        with contextlib.suppress(Exception):
            print(self.journal("-n", "250", "-o", "short-monotonic"), file=sys.stderr)

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader or self.process.pid, signal.SIGKILL)
            self.process.wait()
        subprocess.run(["umount", "--lazy", self.files], check=True)


def finish(words, command, check, timeout, stdin=None):
    try:
        done = subprocess.run(command, env=ENVIRONMENT, input=stdin or "", text=True,
                              timeout=timeout, capture_output=True, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{' '.join(map(str, words))}: not done within {timeout:g} s:\n"
                             f"{error.stdout}\n{error.stderr}") from None
    if check and done.returncode != 0:
        raise CommandFailed(words, done)
    return done
