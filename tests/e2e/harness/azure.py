"""A controller with an agent for Azure's own clients, in a place that ends with the test."""

import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

REST = "127.0.0.1:8443"
FLEET = "127.0.0.1:7444"
ENDPOINT = f"https://{REST}"
LOCATION = "westeurope"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "demo"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
VM_ID = f"{GROUP_ID}/providers/Microsoft.Compute/virtualMachines/web-1"
AUTHORITY = "controller/ca.pem"
OWNER_TOKEN = "controller/owner.token"
START_SECONDS = 30
# What ctest takes for a test that could not be tried here.
SKIPPED = 77


def write(name, text):
    pathlib.Path(name).write_text(text)
    os.chmod(name, 0o600)


def run_inside(script, options, seconds):
    """Runs `script` again with --inside and `options`, in an empty folder, and network and
    process namespaces; what runs there ends with it, and it with this."""
    isolate = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        isolate.append("--map-root-user")
    again = [sys.executable, "-I", script, "--inside", *options]
    with tempfile.TemporaryDirectory(prefix="postern-azure-") as folder:
        return subprocess.run(isolate + again, cwd=folder, stdin=subprocess.DEVNULL,
                              timeout=2 * START_SECONDS + seconds + 30, check=False).returncode


class Stage:
    """A controller and an agent that is attached to it, in the present folder."""

    def __init__(self, programs):
        self.programs = programs
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
        request = urllib.request.Request(f"{ENDPOINT}{path}", method=method)
        token = pathlib.Path(OWNER_TOKEN).read_text().strip()
        request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=AUTHORITY)
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

    def assign(self, principal, role):
        self.rest("PUT", "/postern/v1/roles",
                  {"principal": principal, "role": role, "scope": GROUP_ID})

    def start(self, configuration=""):
        """`configuration` is what controller.yaml says besides."""
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        write("controller.yaml", f"""
state_dir: controller
names: [127.0.0.1]
rest: {{address: "{REST}", public_url: "{ENDPOINT}"}}
agents: {{address: "{FLEET}"}}
{configuration}""")
        self._start("controller", self.programs / "controller/postern-controller",
                    "--config", "controller.yaml")
        self._await("the controller serves", self._serves)
        token = self.rest("POST", "/postern/v1/join-tokens",
                          {"scope": VM_ID, "location": LOCATION, "lifetime": "10m"})
        write("join.token", token["secret"])
        write("agent.yaml", f"""
state_dir: agent
socket: agent.sock
controller: {{address: "{FLEET}", ca: {AUTHORITY}, join_token_file: join.token}}
""")
        self._start("agent", self.programs / "agent/posternd", "--config", "agent.yaml")
        self._await("the agent attaches", self._attached)

    def grants(self):
        """What the agent has made of the requests."""
        done = subprocess.run([self.programs / "cli/posternctl", "--socket", "agent.sock",
                               "grants", "--all", "-o", "json"], stdout=subprocess.PIPE,
                              timeout=10, check=True)
        return json.loads(done.stdout)["grants"]

    def logs(self):
        return "".join(f"--- {path}\n{path.read_text(errors='replace')}"
                       for path in sorted(pathlib.Path().glob("*.log")))
