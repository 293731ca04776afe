"""The Debian 12 file system that every box starts from: made once, and kept.

A folder build/e2e/root-KEY holds `tree`, and the ssh key that the tree lets in
as root. The key is of everything that goes into it: other packages make
another root, and the old one goes.
"""

import contextlib
import fcntl
import hashlib
import pathlib
import re
import shutil
import subprocess

from harness import lan

SUITE = "bookworm"
PACKAGES = ("conntrack", "curl", "dbus", "firewalld", "iproute2", "nftables", "openssh-client",
            "netbase", "openssh-server", "postgresql-15", "procps", "python3-minimal", "systemd",
            "systemd-sysv")

NETWORK = f"""[Match]
Name=host0

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no

[Address]
Address={lan.BOX}/24

[Address]
Address={lan.BOX6}/64
DuplicateAddressDetection=none
"""

# What is written over what the packages bring.
FILES = {
    "etc/systemd/network/10-host0.network": NETWORK,
    "etc/hostname": "box\n",
    "etc/machine-id": "0" * 31 + "1\n",
    # The root lives in memory.
    "etc/dpkg/dpkg.cfg.d/e2e": "force-unsafe-io\n",
    # Probers knock more often than sshd would put up with.
    "etc/ssh/sshd_config.d/e2e.conf": "MaxStartups 1000\n",
}
PROGRAMS = {
    # The kernel takes a network namespace's tables away before its cables: without
    # this, a box that goes down answers for a moment with nothing closed.
    "usr/lib/systemd/system-shutdown/unplug": "#!/bin/sh\nexec ip link set host0 down\n",
}
# Those that a test is about are started by it; the others only take time.
IDLE_UNITS = ("nftables.service", "firewalld.service", "postgresql.service", "apt-daily.timer", "apt-daily-upgrade.timer",
              "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")


def ensure(cache, debs):
    """The folder with the root for boxes that get `debs`, which apt then installs
    without a network."""
    packages = sorted(set(PACKAGES) | dependencies(debs))
    key = hashlib.sha256(repr((packages, SUITE, FILES, PROGRAMS, IDLE_UNITS)).encode()).hexdigest()[:12]
    root = cache / f"root-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "root.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            make(root, packages)
        for old in cache.glob("root-*"):
            if old != root:
                shutil.rmtree(old)
    return root


def dependencies(debs):
    """The packages that apt would have to fetch for `debs`."""
    names, own = set(), set()
    for deb in debs:
        fields = subprocess.run(["dpkg-deb", "-f", deb, "Package", "Pre-Depends", "Depends"],
                                check=True, capture_output=True, text=True).stdout
        own.update(re.findall(r"^Package: (\S+)", fields, re.M))
        for line in re.findall(r"^(?:Pre-)?Depends: (.*)", fields, re.M):
            # Of alternatives, the first is what apt would choose.
            names.update(re.match(r"[a-z0-9.+-]+", part.strip())[0] for part in line.split(","))
    return names - own


def make(root, packages):
    print(f"Making {root}", flush=True)
    making = root.with_name("making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    tree = making / "tree"
    with open(root.with_name("mmdebstrap.log"), "w", encoding="utf-8") as log:
        subprocess.run(["mmdebstrap", "--variant=apt", f"--include={','.join(packages)}", SUITE,
                        tree, *sources()], check=True, stdout=log, stderr=subprocess.STDOUT)
    for path, text in FILES.items():
        (tree / path).write_text(text, encoding="utf-8")
    for path, text in PROGRAMS.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
        (tree / path).chmod(0o755)
    (tree / "var/log/journal").mkdir(exist_ok=True)
    subprocess.run(["systemctl", "--quiet", f"--root={tree}", "enable", "systemd-networkd.service"],
                   check=True)
    subprocess.run(["systemctl", "--quiet", f"--root={tree}", "disable", *IDLE_UNITS], check=True,
                   stderr=subprocess.DEVNULL)
    make_key(tree)
    making.rename(root)


def make_key(tree):
    """A key of the tree's own opens it, so that nothing need be copied."""
    (tree / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["chroot", tree, "ssh-keygen", "-q", "-t", "ed25519", "-N", "",
                    "-f", "/root/.ssh/id_ed25519"], check=True)
    shutil.copy(tree / "root/.ssh/id_ed25519.pub", tree / "root/.ssh/authorized_keys")


def sources():
    """The machine's own Debian mirror; nothing else that it may have."""
    for name in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        with contextlib.suppress(FileNotFoundError):
            if pathlib.Path(name).stat().st_size > 0:
                return [name]
    return []
