#!/usr/bin/env python3
"""Runs Azure's JavaScript client against a real controller with a real agent.

    run.py --programs build/release [--build build/e2e/azure-sdk]

The client and what it depends on come from npm's registry, by the lock file;
everything else happens in network and process namespaces of its own, and ends
with them.
"""

import argparse
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
REST = "127.0.0.1:8443"
FLEET = "127.0.0.1:7444"
LOCATION = "westeurope"
GROUP_ID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/demo"
VM_ID = f"{GROUP_ID}/providers/Microsoft.Compute/virtualMachines/web-1"
INSTALL_SECONDS = 240
PING_SECONDS = 30
# What ctest takes for a test that could not be tried here.
SKIPPED = 77
CLIENT_SECONDS = 120
START_SECONDS = 30


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
        sys.exit(SKIPPED)


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
    # What runs inside ends with it, and it with this.
    isolate = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        isolate.append("--map-root-user")
    again = [sys.executable, "-I", HERE / "run.py", "--inside", "--programs",
             options.programs.resolve(), "--build", options.build.resolve()]
    with tempfile.TemporaryDirectory(prefix="postern-azure-") as folder:
        return subprocess.run(isolate + again, cwd=folder, stdin=subprocess.DEVNULL,
                              timeout=2 * START_SECONDS + CLIENT_SECONDS + 30,
                              check=False).returncode


class Stage:
    """A controller and an agent that is attached to it, in the present folder."""

    def __init__(self, programs):
        self._programs = programs
        self._started = []
        self._tls = None

    def _start(self, name, *command):
        with open(f"{name}.log", "wb") as log:
            # pylint: disable=consider-using-with
            self._started.append(subprocess.Popen([str(word) for word in command], stdout=log,
                                                  stderr=log, stdin=subprocess.DEVNULL))

    def _await(self, what, condition):
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            for process in self._started:
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {START_SECONDS} s: {what}")
            time.sleep(0.05)

    def rest(self, method, path, body=None):
        """As the owner; the answer's body."""
        request = urllib.request.Request(f"https://{REST}{path}", method=method)
        token = pathlib.Path("controller/owner.token").read_text().strip()
        request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile="controller/ca.pem")
        # Without the environment's proxies.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=self._tls))
        with opener.open(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def _serves(self):
        try:
            return self.rest("GET", "/postern/v1/health") == {"status": "ok"}
        except (OSError, urllib.error.URLError):
            return False

    def _attached(self):
        return any(vm["attached"] for vm in self.rest("GET", "/postern/v1/vms")["vms"])

    def start(self):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        write("controller.yaml", f"""
state_dir: controller
names: [127.0.0.1]
rest: {{address: "{REST}", public_url: "https://{REST}"}}
agents: {{address: "{FLEET}"}}
""")
        self._start("controller", self._programs / "controller/postern-controller",
                    "--config", "controller.yaml")
        self._await("the controller serves", self._serves)
        token = self.rest("POST", "/postern/v1/join-tokens",
                          {"scope": VM_ID, "location": LOCATION, "lifetime": "10m"})
        write("join.token", token["secret"])
        write("agent.yaml", f"""
state_dir: agent
socket: agent.sock
controller: {{address: "{FLEET}", ca: controller/ca.pem, join_token_file: join.token}}
""")
        self._start("agent", self._programs / "agent/posternd", "--config", "agent.yaml")
        self._await("the agent attaches", self._attached)
        self.rest("PUT", "/postern/v1/roles",
                  {"principal": "user:reader", "role": "Reader", "scope": GROUP_ID})
        reader = self.rest("POST", "/postern/v1/tokens",
                           {"principal": "user:reader", "lifetime": "1h"})
        write("reader.token", reader["secret"])

    def grants(self):
        """What the agent has made of the requests."""
        done = subprocess.run([self._programs / "cli/posternctl", "--socket", "agent.sock",
                               "grants", "--all", "-o", "json"], stdout=subprocess.PIPE,
                              timeout=10, check=True)
        return json.loads(done.stdout)["grants"]

    def logs(self):
        return "".join(f"--- {path}\n{path.read_text(errors='replace')}"
                       for path in sorted(pathlib.Path().glob("*.log")))


def write(name, text):
    pathlib.Path(name).write_text(text)
    os.chmod(name, 0o600)


def run_client(build):
    here = pathlib.Path().resolve()
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_EXTRA_CA_CERTS": str(here / "controller/ca.pem"),
        "POSTERN_ENDPOINT": f"https://{REST}",
        "POSTERN_VM": VM_ID,
        "POSTERN_LOCATION": LOCATION,
        "POSTERN_OWNER_TOKEN_FILE": str(here / "controller/owner.token"),
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
    stage = Stage(options.programs)
    try:
        stage.start()
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
