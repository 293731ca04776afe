"""What a machine boots from: a disk with Debian 12 and both kernels, made once and
kept, and a small one with what is under test, made for each run.

A folder build/boot/root-KEY holds disk.img, and vmlinuz and initrd.img by the
kernel's name here. The key is of everything that goes into it.
"""

import fcntl
import hashlib
import lzma
import pathlib
import re
import shutil
import subprocess
import urllib.request

from harness import lan

SUITE = "bookworm"
# The one that Debian 12 is installed with, and the one that its backports bring
# (which is Debian 13's).
KERNELS = ("6.1", "6.12")
PACKAGES = ("conntrack", "dbus", "initramfs-tools", "iproute2", "kmod", "netbase", "nftables",
            "openssh-server", "procps", "python3-minimal", "systemd", "systemd-sysv", "udev")
# What only takes time, and nothing here needs.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
          "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty@.service",
          "serial-getty@.service", "modprobe@drm.service", "modprobe@efi_pstore.service",
          "modprobe@fuse.service", "systemd-logind.service")
DISK_SIZE = "1500M"

NETWORK = f"""[Match]
Name=eth0

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no

[Address]
Address={lan.BOX}/24

[Address]
Address={lan.BOX6}/64
DuplicateAddressDetection=none
"""
DRIVER_UNIT = """[Unit]
DefaultDependencies=no
After=systemd-remount-fs.service

[Service]
ExecStart=/usr/local/sbin/driver
KillMode=process

[Install]
WantedBy=sysinit.target
"""
FILES = {
    "etc/systemd/network/10-eth0.network": (NETWORK, 0o644),
    "etc/systemd/system/driver.service": (DRIVER_UNIT, 0o644),
    "usr/local/sbin/driver": (pathlib.Path(__file__).with_name("driver").read_text("utf-8"), 0o755),
    "etc/fstab": ("/dev/vda / ext4 errors=remount-ro 0 1\n", 0o644),
    "etc/hostname": ("machine\n", 0o644),
    "etc/machine-id": ("0" * 31 + "2\n", 0o644),
    # Probers knock more often than sshd would put up with.
    "etc/ssh/sshd_config.d/boot.conf": ("MaxStartups 1000\n", 0o644),
}
# A small initial RAM disk: the modules that find the disk. nf_tables is none of
# them.
INITRAMFS = {
    "etc/initramfs-tools/conf.d/boot": "MODULES=list\nCOMPRESS=lz4\nFSTYPE=ext4\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
}


def ensure(cache, packages):
    """The folder with the images for a root that has `packages` too."""
    wanted = sorted(set(PACKAGES) | set(packages))
    key = hashlib.sha256(repr((wanted, SUITE, FILES, INITRAMFS, MASKED, DISK_SIZE)).encode())
    root = cache / f"root-{key.hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "root.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            for old in cache.glob("root-*"):
                shutil.rmtree(old)
            make(root, wanted)
    return root


def make(root, packages):
    print(f"Making {root}", flush=True)
    making = root.with_name("making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    tree = making / "tree"
    try:
        debootstrap(tree, packages, making)
        for kernel in KERNELS:
            for name in ("vmlinuz", "initrd.img"):
                (found,) = (tree / "boot").glob(f"{name}-{kernel}.*")
                shutil.copy(found, making / f"{name}-{kernel}")
        furnish(tree)
        disk(tree, making / "disk.img", DISK_SIZE)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    making.rename(root)


def debootstrap(tree, packages, making):
    for path, text in INITRAMFS.items():
        file = making / "initramfs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    debian = mirror(SUITE)
    suites = ((debian, SUITE), (debian, f"{SUITE}-updates"), (debian, f"{SUITE}-backports"),
              (mirror(f"{SUITE}-security"), f"{SUITE}-security"))
    include = ",".join([*packages, "linux-image-cloud-amd64", newer_kernel()])
    with open(making.with_name("mmdebstrap.log"), "w", encoding="utf-8") as log:
        subprocess.run(["mmdebstrap", "--variant=apt", f"--include={include}",
                        f"--setup-hook=cp -r {making}/initramfs/. \"$1\"", SUITE, tree,
                        *(f"deb {site} {suite} main" for site, suite in suites)],
                       check=True, stdout=log, stderr=subprocess.STDOUT)


def mirror(suite):
    """The machine's own."""
    sites = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages",
                            f"Release: {suite}"], check=True, stdout=subprocess.PIPE, text=True)
    if not sites.stdout:
        raise SystemExit(f"apt has no {suite} of Debian in its sources: run apt-get update")
    return sites.stdout.splitlines()[0]


def newer_kernel():
    """The package of the newest 6.12 kernel of the backports. Its metapackage has the
    name that the older kernel's has."""
    address = f"{mirror(SUITE)}/dists/{SUITE}-backports/main/binary-amd64/Packages.xz"
    with urllib.request.urlopen(address, timeout=60) as reply:
        index = lzma.decompress(reply.read()).decode()
    names = re.findall(r"^Package: (linux-image-6\.12\.[0-9.]+\+\S+-cloud-amd64)$", index, re.M)
    return max(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def furnish(tree):
    for path, (text, mode) in FILES.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
    (tree / "var/log/journal").mkdir(exist_ok=True)
    for folder in ("boot", "usr/share/doc", "usr/share/locale", "var/cache/apt"):
        for entry in (tree / folder).glob("*"):
            subprocess.run(["rm", "-r", entry], check=True)
    systemctl = ["systemctl", "--quiet", f"--root={tree}"]
    subprocess.run([*systemctl, "enable", "driver.service", "systemd-networkd.service"], check=True)
    subprocess.run([*systemctl, "mask", *MASKED], check=True)


def disk(tree, image, size):
    """An ext4 image of what is in `tree`."""
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image, size], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def payload(folder, debs, programs):
    """The disk with what is under test, in `folder`: packages, and programs of the
    tests."""
    tree = folder / "payload"
    for name, files in (("packages", debs), ("programs", programs)):
        (tree / name).mkdir(parents=True)
        for file in files:
            target = tree / name / file.name
            shutil.copy(file, target)
            if name == "programs":
                subprocess.run(["strip", "--strip-debug", target], check=True)
    size = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file())
    disk(tree, folder / "payload.img", f"{size * 5 // 4 // 1024 + 8192}k")
    shutil.rmtree(tree)
    return folder / "payload.img"
