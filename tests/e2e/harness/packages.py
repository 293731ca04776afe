"""The packages under test, and how to have an older version of them."""

import re
import shutil
import subprocess

# What a guarded host can have.
HOST_NAMES = ("postern-agent", "postern-cli", "postern-exporter")
NAMES = (*HOST_NAMES, "postern-controller")
# What another build calls itself, for upgrades.
PREVIOUS = "0.0.9"


def built(folder, names=NAMES):
    """What scripts/package left, in the order of `names`."""
    debs = []
    for name in names:
        found = sorted(folder.glob(f"{name}_*.deb"))
        if len(found) != 1:
            raise SystemExit(f"{folder} has {len(found)} packages called {name}, not one: "
                             "run scripts/package")
        debs.append(found[0])
    return debs


def program(build, name):
    """One that the release build makes for these tests."""
    path = build / "release/tests/e2e" / name
    if not path.exists():
        raise SystemExit(f"{path} is missing; build the release preset")
    return path


def repacked(debs, version, folder, programs):
    """The same packages under another version, with `programs` instead of theirs of
    these names."""
    made = []
    for deb in debs:
        tree = folder / "repacking"
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        text = control.read_text(encoding="utf-8")
        now = re.search(r"^Version: (.*)", text, re.M)[1]
        control.write_text(text.replace(now, version), encoding="utf-8")
        for program in programs:
            for place in tree.glob(f"usr/*bin/{program.name}"):
                subprocess.run(["strip", "-o", place, program], check=True)
        made.append(folder / deb.name.replace(now, version))
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, made[-1]],
                       check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(tree)
    return made


def version_of(deb):
    return subprocess.run(["dpkg-deb", "-f", deb, "Version"], check=True, capture_output=True,
                          text=True).stdout.strip()
