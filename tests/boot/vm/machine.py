"""An emulated machine that boots Debian with a kernel of its own."""

import base64
import contextlib
import queue
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from harness import lan
from harness.box import CommandFailed
from harness.waiting import wait_for
from vm.qmp import Qmp

# Emulated, and perhaps beside others: a test that waits this long has failed.
PATIENCE = 300.0
# The checks of the timers fail where a busy host gives the emulator no time just
# then.
PARAMETERS = ("root=/dev/vda ro console=ttyS0 net.ifnames=0 mitigations=off no_timer_check "
              "tsc=reliable")
# How far a clock that was set may be wrong, in seconds.
CLOCK_ERROR = 1.0
HARDWARE_ADDRESS = "52:54:00:00:00:10"
TAP = "tap0"
# With five-level page tables and a randomised layout, Linux 6.1 cannot read the
# names in its own /proc/self/mountinfo here. QEMU 7.2 sets the flags wrong after a
# cmpxchg16b at times, and Linux 6.12 then crashes as it boots. The last would load
# kvm.
CPU = "max,-la57,-cx16,-svm"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Machine:
    """Plugged into the bridge of harness.lan. Speaks like a harness.box.Box, so that
    harness.agent.Agent serves here too."""

    def __init__(self, root, kernel, payload, place):
        self.root, self.kernel, self.payload, self.place = root, kernel, payload, place
        self.console = place / "console"
        self.process = self.qmp = self.driver = None
        self.boot_id = None
        self.commands = 0
        self.lines = queue.Queue()

    # ---- Power

    def start(self):
        """Until its driver speaks; the boot goes on."""
        plug_in()
        words = ["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", CPU,
                 "-smp", "1", "-m", "768", "-nodefaults", "-display", "none", "-snapshot",
                 "-kernel", self.root / f"vmlinuz-{self.kernel}",
                 "-initrd", self.root / f"initrd.img-{self.kernel}",
                 "-append", PARAMETERS,
                 "-drive", f"file={self.root}/disk.img,format=raw,if=virtio",
                 "-drive", f"file={self.payload},format=raw,if=virtio",
                 "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no",
                 "-device", f"virtio-net-pci,netdev=net,mac={HARDWARE_ADDRESS},romfile=",
                 "-serial", f"file:{self.console}",
                 "-chardev", f"socket,id=driver,path={self.place}/driver,server=on,wait=off",
                 "-serial", "chardev:driver",
                 "-qmp", f"unix:{self.place}/qmp,server=on,wait=off"]
        with open(self.place / "qemu.log", "wb") as log:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env={"TMPDIR": str(self.place)})
        wait_for(self._is_listening, "qemu's sockets")
        self.driver = socket.socket(socket.AF_UNIX)
        self.driver.connect(str(self.place / "driver"))
        self.qmp = Qmp(self.place / "qmp")
        threading.Thread(target=self._read, daemon=True).start()
        self._wait_ready()

    def _is_listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"qemu ended: {(self.place / 'qemu.log').read_text('utf-8')}")
        return all((self.place / name).exists() for name in ("driver", "qmp"))

    def _read(self):
        with contextlib.suppress(OSError):
            for line in self.driver.makefile("r", encoding="ascii", errors="replace"):
                self.lines.put(line)

    def _next_line(self, pattern, what, timeout):
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {timeout:g} s: {what}") from None
            # A reset may cut a line short.
            if found := re.search(pattern, line):
                return found

    def _wait_ready(self):
        before = self.boot_id
        while self.boot_id == before:
            self.boot_id = self._next_line(r"ready (\S{36})", "the machine's driver", PATIENCE)[1]

    def reset(self):
        """By the button: nothing is told to what runs. Until its driver speaks."""
        self.qmp.command("system_reset")
        self._wait_ready()

    def wait_up(self):
        """Until the jobs of the boot are done, whether or not all went well."""
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def suspend(self, until):
        """To RAM; returns when `until`() has, and the machine is awake again."""
        number = self._send("echo mem >/sys/power/state")
        self.qmp.wait_event("SUSPEND", PATIENCE)
        until()
        self.qmp.command("system_wakeup")
        woken = time.monotonic()
        self._reply(number, "echo mem", PATIENCE)
        return woken

    @contextlib.contextmanager
    def paused(self):
        """As a hypervisor does it: no time passes inside."""
        self.qmp.command("stop")
        try:
            yield
        finally:
            self.qmp.command("cont")

    def remove(self):
        if self.qmp is not None:
            self.qmp.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        subprocess.run(["ip", "link", "delete", TAP], check=False, stderr=subprocess.DEVNULL)

    # ---- In it

    def _send(self, script):
        self.commands += 1
        encoded = base64.b64encode(script.encode()).decode()
        self.driver.sendall(f"{self.commands} {encoded}\n".encode())
        return self.commands

    def _reply(self, number, what, timeout):
        found = self._next_line(rf"done {number} (\d+) -(\S*) -(\S*)", what, timeout)
        return Done(int(found[1]), *(base64.b64decode(found[n]).decode(errors="replace")
                                     for n in (2, 3)))

    def run(self, *words, check=True, timeout=PATIENCE):
        return self._finish(shlex.join(map(str, words)), check, timeout)

    def sh(self, script, check=True, timeout=PATIENCE):
        return self._finish(f"set -e\n{script}", check, timeout).stdout

    def _finish(self, script, check, timeout):
        done = self._reply(self._send(script), script, timeout)
        if check and done.returncode != 0:
            raise CommandFailed([script], done)
        return done

    def write(self, name, text):
        self.sh(f'mkdir -p "$(dirname {name})"\ncat >{name} <<\\END\n{text}END\n')

    def show(self, unit, *properties):
        """Properties of a unit, as a dict."""
        done = self.run("systemctl", "show", unit, *(f"--property={p}" for p in properties))
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def state(self, unit):
        return self.show(unit, "ActiveState")["ActiveState"]

    def journal(self, *words):
        return self.run("journalctl", "--no-pager", *words).stdout

    # ---- Its clock

    def set_clock(self, ahead=0.0):
        """To ours and that many seconds more; again where the machine was slow."""
        error = CLOCK_ERROR
        while abs(error) >= CLOCK_ERROR:
            self.run("date", "-s", f"@{time.time() + ahead:.3f}")
            error = float(self.run("date", "+%s.%N").stdout) - time.time() - ahead

    # ---- What it says

    def tell(self):
        """What helps to understand a failure."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.console.read_text(errors="replace"))
        print(f"---- console\n{text[-3000:]}\n---- journal", file=sys.stderr)
        with contextlib.suppress(Exception):
            print(self._finish("journalctl --no-pager -b -n 120 -o short-precise; "
                               "nft list table inet postern", False, 60).stdout, file=sys.stderr)


def plug_in():
    lan.ip("tuntap", "add", TAP, "mode", "tap")
    lan.ip("link", "set", TAP, "master", lan.BRIDGE, "up")
    for address in (lan.BOX, lan.BOX6):
        lan.ip("neighbour", "replace", address, "lladdr", HARDWARE_ADDRESS, "nud", "permanent",
               "dev", lan.BRIDGE)
