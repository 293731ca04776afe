"""The agent in a box, as its operator knows it."""

import datetime
import json

from harness import lan
from harness.waiting import wait_for

UNIT = "postern-agent.service"
LOCKDOWN = "postern-lockdown.service"
CONFIGURATION = "/etc/postern/agent.yaml"


class Agent:
    def __init__(self, box):
        self.box = box

    # ---- Its configuration

    def configure(self, mode="enforce", more=""):
        """Writes a whole agent.yaml; the agent is told nothing."""
        self.box.write(CONFIGURATION, f"mode: {mode}\n{more}")

    # ---- Its process

    def pid(self):
        return int(self.box.show(UNIT, "MainPID")["MainPID"])

    def is_ready(self):
        return self.box.state(UNIT) == "active"

    def wait_ready(self):
        wait_for(self.is_ready, f"{UNIT} active")

    def wait_another(self, pid):
        """Until another process than `pid` is ready."""
        wait_for(lambda: self.is_ready() and self.pid() not in (0, pid),
                 f"a ready {UNIT} other than {pid}")

    def status_text(self):
        return self.box.show(UNIT, "StatusText")["StatusText"]

    # ---- posternctl

    def ctl(self, *words, check=True):
        return self.box.run("posternctl", *words, check=check)

    def ask(self, *words):
        return json.loads(self.ctl(*words, "-o", "json").stdout)

    def grant(self, *words, source=lan.OPERATOR, port=22, duration="10m"):
        """As JSON, with "end" as seconds since 1970."""
        made = self.ask("grant", "--from", source, "--port", str(port), "--for", duration,
                        "--justification", "e2e", *words)
        made["end"] = seconds(made["end_time"])
        return made

    def live(self):
        """The ids of the live grants, and their ends in seconds since 1970."""
        return {g["id"]: seconds(g["end_time"]) for g in self.ask("grants")["grants"]}

    def state_of(self, grant):
        return next(g["state"] for g in self.ask("grants", "--all")["grants"]
                    if g["id"] == grant["id"])

    def events(self):
        return self.ask("audit")["events"]


def seconds(time):
    return datetime.datetime.fromisoformat(time).timestamp()
