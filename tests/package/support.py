"""What the tests of the packages share: where things are, and running programs."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build/release"
PACKAGES = TOP / "build/packages"
# The same, made once more.
AGAIN = TOP / "build/packages-again"

VERSION = re.search(r"^  VERSION (\S+)$", (TOP / "CMakeLists.txt").read_text(), re.M)[1]


def run(*command, **options):
    """Its stdout; an AssertionError with all that it said where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def deb(name):
    """The path of one of our packages, or of its -dbgsym."""
    return only(PACKAGES.glob(f"{name}_{VERSION}_*.deb"))


def rpm(name):
    return only(PACKAGES.glob(f"{name}-{VERSION}-1.*.rpm"))


def only(paths):
    path, = paths
    return path


class Folder:
    """A temporary folder, which tests of one class share."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="postern-package-test."))

    def remove(self):
        shutil.rmtree(self.path)


def unpacked(name, folder):
    """The files of a .deb, in a folder of that name."""
    where = folder.path / name
    if not where.exists():
        run("dpkg-deb", "-x", deb(name), where)
    return where


def isolated(*command, network=True):
    """The command in namespaces of its own, where the host is no booted systemd
    system, so that a maintainer script cannot reach the host's, and (with `network`)
    the firewall is not the host's either."""
    unshare = ["unshare", "--mount"] + (["--net"] if network else [])
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    hide = 'if [ -d /run/systemd ]; then mount -t tmpfs none /run/systemd; fi && exec "$@"'
    return [*unshare, "sh", "-c", hide, "sh", *command]
