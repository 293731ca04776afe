"""The controller in a box, as those know it who ask it over HTTPS from outside."""

import http.client
import json
import ssl

from harness import lan
from harness.waiting import wait_for

UNIT = "postern-controller.service"
CONFIGURATION = "/etc/postern/controller.yaml"
STATE = "/var/lib/postern-controller"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/e2e"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/box"
POLICY = f"{GROUP}/providers/Microsoft.Security/locations/here/jitNetworkAccessPolicies/default"
API_VERSION = "api-version=2020-01-01"


class Refused(AssertionError):
    def __init__(self, status, answer):
        super().__init__(f"{status}: {answer}")
        self.status = status


class Connection(http.client.HTTPConnection):
    """To the box, whose certificate has to be one of `authority` for `name`."""

    def __init__(self, authority, name, port):
        super().__init__(lan.BOX, port, timeout=10)
        self.context = ssl.create_default_context(cafile=authority)
        self.name = name

    def connect(self):
        super().connect()
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.name)


class Controller:
    def __init__(self, box):
        self.box = box

    # ---- Its process

    def is_ready(self):
        return self.box.state(UNIT) == "active"

    def wait_ready(self):
        wait_for(self.is_ready, f"{UNIT} active")

    def restart(self):
        self.box.run("systemctl", "restart", UNIT)

    # ---- Its REST API

    def token(self):
        return self.box.path(f"{STATE}/owner.token").read_text(encoding="ascii").strip()

    def ask(self, method, path, body=None, token=None, authority=f"{STATE}/ca.pem",
            name="localhost", port=8443):
        """The answer's JSON. The package's own configuration knows no address of the
        box, but its name and localhost."""
        connection = Connection(self.box.path(authority), name, port)
        try:
            headers = {"Authorization": f"Bearer {self.token() if token is None else token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
                body = json.dumps(body)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Refused(answer.status, text)
        return json.loads(text) if text else None

    def join_token(self):
        """The secret of one for the box."""
        return self.ask("POST", "/postern/v1/join-tokens",
                        {"scope": VM, "location": "here", "lifetime": "10m"})["secret"]

    def vms(self, **options):
        return self.ask("GET", "/postern/v1/vms", **options)["vms"]

    def is_attached(self):
        return [vm["attached"] for vm in self.vms()] == [True]

    def wait_attached(self):
        wait_for(self.is_attached, "the agent attached")

    def put_policy(self, ask=None):
        port = {"number": 22, "protocol": "TCP", "allowedSourceAddressPrefix": "*",
                "maxRequestAccessDuration": "PT1H"}
        return (ask or self.ask)("PUT", f"{POLICY}?{API_VERSION}", {
            "kind": "Basic", "properties": {"virtualMachines": [{"id": VM, "ports": [port]}]}})

    def initiate(self, source=lan.OPERATOR, ask=None):
        """The id of a request for port 22 of the box."""
        port = {"number": 22, "duration": "PT10M", "allowedSourceAddressPrefix": source}
        made = (ask or self.ask)("POST", f"{POLICY}/initiate?{API_VERSION}", {
            "virtualMachines": [{"id": VM, "ports": [port]}], "justification": "e2e"})
        return made["postern"]["id"]

    def status_of(self, request, ask=None):
        return (ask or self.ask)("GET", f"/postern/v1/requests/{request}")["ports"][0]["status"]

    def wait_status(self, request, status, ask=None):
        wait_for(lambda: self.status_of(request, ask) == status, f"request {request} {status}")
