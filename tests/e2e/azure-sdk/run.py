#!/usr/bin/env python3
"""Runs Azure's JavaScript client against a real controller with a real agent.

    run.py --programs build/release [--build build/e2e/azure-sdk]

The client and what it depends on come from npm's registry, by the lock file;
everything else happens in network and process namespaces of its own, and ends
with them.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

# Also as root, in the source tree of somebody else.
sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

# pylint: disable=wrong-import-position
from harness import azure  # noqa: E402

INSTALL_SECONDS = 240
PING_SECONDS = 30
CLIENT_SECONDS = 120


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True,
                        help="the build folder whose programs are tested")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[2] / "build/e2e/azure-sdk",
                        help="where the client is installed (default: %(default)s)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def skip_without_registry(build):
    """Ends the run where npm's registry does not answer: then it is not the test that fails."""
    try:
        answers = subprocess.run(["npm", "ping", "--fetch-retries=0"], cwd=build, check=False,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, timeout=PING_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        answers = False
    if not answers:
        print("run.py: npm's registry cannot be reached from here; Azure's client was not tried")
        sys.exit(azure.SKIPPED)


def install(build):
    """The client as the lock file has it; kept until that changes."""
    build.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "client.test.mjs"):
        shutil.copyfile(HERE / name, build / name)
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = build / "node_modules/.installed-lock.json"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    # A registry that does not answer is to be told within the time of a test.
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
               "--cache", build / "npm-cache", "--fetch-timeout=30000", "--fetch-retries=2",
               "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    try:
        done = subprocess.run(command, cwd=build, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=INSTALL_SECONDS, check=False)
    except FileNotFoundError:
        sys.exit("run.py: there is no npm; scripts/test azure installs it")
    except subprocess.TimeoutExpired:
        skip_without_registry(build)
        sys.exit(f"run.py: npm ci has not ended within {INSTALL_SECONDS} s")
    if done.returncode != 0:
        skip_without_registry(build)
        sys.exit(f"run.py: npm ci failed:\n{done.stdout}")
    stamp.write_bytes(lock)


def outside(options):
    install(options.build)
    return azure.run_inside(HERE / "run.py", ["--programs", options.programs.resolve(),
                                              "--build", options.build.resolve()], CLIENT_SECONDS)


def make_reader(stage):
    stage.assign("user:reader", "Reader")
    made = stage.rest("POST", "/postern/v1/tokens", {"principal": "user:reader", "lifetime": "1h"})
    azure.write("reader.token", made["secret"])


def run_client(build):
    here = pathlib.Path().resolve()
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_EXTRA_CA_CERTS": str(here / azure.AUTHORITY),
        "POSTERN_ENDPOINT": azure.ENDPOINT,
        "POSTERN_VM": azure.VM_ID,
        "POSTERN_LOCATION": azure.LOCATION,
        "POSTERN_OWNER_TOKEN_FILE": str(here / azure.OWNER_TOKEN),
        "POSTERN_READER_TOKEN_FILE": str(here / "reader.token"),
    }
    return subprocess.run(["node", "--test", "client.test.mjs"], cwd=build, env=environment,
                          stdin=subprocess.DEVNULL, timeout=CLIENT_SECONDS, check=False).returncode


def check_grants(grants):
    """Nothing is open any more, and what was open was on the VM."""
    sources = {source for grant in grants for source in grant["source_prefixes"]}
    if sources != {"127.0.0.1/32", "203.0.113.7/32"}:
        raise RuntimeError(f"the agent has had grants for {sorted(sources)}")
    live = [grant for grant in grants if grant["state"] == "ACTIVE"]
    if live:
        raise RuntimeError(f"still open on the VM: {live}")


def inside(options):
    stage = azure.Stage(options.programs)
    try:
        stage.start()
        make_reader(stage)
        failed = run_client(options.build)
        if not failed:
            check_grants(stage.grants())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        failed = 1
    if failed:
        print(stage.logs(), file=sys.stderr)
    return failed


if __name__ == "__main__":
    OPTIONS = parse()
    sys.exit(inside(OPTIONS) if OPTIONS.inside else outside(OPTIONS))
