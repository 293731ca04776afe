#!/usr/bin/env python3
"""Runs Azure's command line, az, against a real controller with a real agent.

    run.py --programs build/release

az is the machine's own; it runs with a configuration of its own, in network and
process namespaces without any way out, and ends with them.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unittest
import urllib.error

# Also as root, in the source tree of somebody else.
sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

# pylint: disable=wrong-import-position
from harness import azure  # noqa: E402
from harness.waiting import wait_for  # noqa: E402
from issuer import Issuer  # noqa: E402

ALL_SECONDS = 240
AZ_SECONDS = 60
RATE_SECONDS = 30
# What the controller's tokens are for; az asks the issuer for tokens for it.
RESOURCE = "https://postern.example.org"
TENANT = "00000000-0000-0000-0000-00000000000a"
VERSION = "api-version=2020-01-01"
POLICIES = (f"{azure.GROUP_ID}/providers/Microsoft.Security/locations/{azure.LOCATION}/"
            "jitNetworkAccessPolicies")
SOURCE = "203.0.113.7"
# With one more, more than a page has.
MANY = 100
TRUSTED = "trusted.pem"

STAGE = None
ISSUER = None


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True,
                        help="the build folder whose programs are tested")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def outside(options):
    for program, package in (("az", "azure-cli"), ("openssl", "openssl")):
        if shutil.which(program) is None:
            print(f"run.py: there is no {program}, which scripts/test azure installs as root "
                  f"(package {package}); Azure's command line was not tried")
            return azure.SKIPPED
    return azure.run_inside(HERE / "run.py", ["--programs", options.programs.resolve()],
                            ALL_SECONDS)


def policy_of():
    return {"kind": "Basic", "properties": {"virtualMachines": [{"id": azure.VM_ID, "ports": [
        {"number": 22, "protocol": "TCP", "allowedSourceAddressPrefix": "*",
         "maxRequestAccessDuration": "PT3H"}]}]}}


def ask_for(port=22):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=10)
    return {"virtualMachines": [{"id": azure.VM_ID, "ports": [
        {"number": port, "endTimeUtc": end.isoformat(), "allowedSourceAddressPrefix": SOURCE}]}],
        "justification": "deploy 142"}


def as_owner(method, path, body=None):
    """At the rate that the controller allows."""
    deadline = time.monotonic() + RATE_SECONDS
    while True:
        try:
            return STAGE.rest(method, f"{POLICIES}/{path}?{VERSION}", body)
        except urllib.error.HTTPError as error:
            if error.code != 429 or time.monotonic() > deadline:
                raise
            time.sleep(float(error.headers["Retry-After"]))


def delete_policies(*policies):
    for name in policies:
        as_owner("DELETE", name)


def put_policies(case, *policies):
    """For as long as `case` runs."""
    case.addCleanup(delete_policies, *policies)
    for name in policies:
        as_owner("PUT", name, policy_of())


def port_of(name):
    """The port of the newest request, once the VM's agent has told what became of it."""
    def settled():
        policy = as_owner("GET", name)
        [port] = policy["properties"]["requests"][0]["virtualMachines"][0]["ports"]
        return port if port["status"] != "Initiating" else None
    return wait_for(settled, "the agent tells what became of the request", azure.START_SECONDS)


def recipe():
    """What the documents tell people to type, for the names of this test."""
    text = (HERE.parents[2] / "docs/operations.md").read_text("utf-8")
    section = re.search(r"^## Azure's clients\n(.*?)^## ", text, re.M | re.S)[1]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.M | re.S)
    typed = "".join(block for kind, block in blocks if not kind)
    for name, value in (("HOST:8443", azure.REST), ("https://login.example.org/adfs",
                                                    ISSUER.authority),
                        ("SUB@login.example.org/adfs", ISSUER.principal("recipe")),
                        ("username ID", "username recipe"), ("TENANT", TENANT),
                        ("SUBSCRIPTION", azure.SUBSCRIPTION), ("GROUP", azure.GROUP),
                        ("LOCATION", azure.LOCATION)):
        if name not in typed:
            raise AssertionError(f"docs/operations.md does not name {name} any more")
        typed = re.sub(rf"\b{re.escape(name)}\b", value, typed)
    return typed


class Refused(Exception):
    """az has ended with an error; what it said."""


class Az:
    """az with a configuration of its own, as one person has it."""

    def __init__(self, name, **environment):
        self._folder = pathlib.Path(name).resolve()
        self._folder.mkdir()
        self._environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self._folder),
            "AZURE_CONFIG_DIR": str(self._folder / "azure"),
            "AZURE_CORE_COLLECT_TELEMETRY": "0", "AZURE_CORE_NO_COLOR": "1",
            "REQUESTS_CA_BUNDLE": str(pathlib.Path(TRUSTED).resolve()), **environment}

    def __call__(self, *words):
        """What it prints, as JSON; None where that is nothing."""
        done = subprocess.run(["az", *words, "--output", "json"], env=self._environment,
                              cwd=self._folder, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=AZ_SECONDS, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr)
        return json.loads(done.stdout or "null")

    def shell(self, script, **environment):
        """Runs it in the folder; what it prints."""
        done = subprocess.run(["bash", "-euxc", script], cwd=self._folder,
                              env={**self._environment, **environment},
                              stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=ALL_SECONDS, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout

    def file(self, name, text):
        """A word that az reads from a file: others see the words of a command."""
        path = self._folder / name
        azure.write(path, text)
        return f"@{path}"

    def register(self):
        """What makes the controller a cloud, as another address of Azure is one."""
        self("cloud", "register", "--name", "postern",
             "--endpoint-resource-manager", azure.ENDPOINT,
             "--endpoint-active-directory", ISSUER.authority,
             "--endpoint-active-directory-resource-id", RESOURCE,
             "--endpoint-active-directory-graph-resource-id", RESOURCE)
        self("cloud", "set", "--name", "postern")

    def policies(self, *words):
        return self("security", "jit-policy", *words)

    def rest(self, method, url, *words, body=None):
        if body is not None:
            words += ("--body", self.file("body.json", json.dumps(body)))
        return self("rest", "--method", method, "--url", url, *words)


def names(policies):
    return sorted(policy["name"] for policy in policies)


class Token(unittest.TestCase):
    """With a token of the controller's own, and without any sign-in."""

    @classmethod
    def setUpClass(cls):
        cls.az = Az("token")
        secret = pathlib.Path(azure.OWNER_TOKEN).read_text().strip()
        headers = json.dumps({"Authorization": f"Bearer {secret}"})
        cls.words = ("--skip-authorization-header", "--headers",
                     cls.az.file("headers.json", headers))

    def rest(self, method, path, body=None):
        return self.az.rest(method, f"{azure.ENDPOINT}{path}?{VERSION}", *self.words, body=body)

    def test_a_policy_is_made_asked_of_and_deleted(self):
        self.addCleanup(delete_policies, "token")
        made = self.rest("put", f"{POLICIES}/token", policy_of())
        self.assertEqual(made["id"], f"{POLICIES}/token")
        asked = self.rest("post", f"{POLICIES}/token/initiate", ask_for())
        self.assertEqual(asked["requestor"], "user:owner")
        self.assertEqual(port_of("token")["status"], "Initiated")
        self.assertEqual(self.rest("get", f"{POLICIES}/token")["name"], "token")
        self.assertIsNone(self.rest("delete", f"{POLICIES}/token"))
        with self.assertRaisesRegex(Refused, "PolicyNotFound"):
            self.rest("get", f"{POLICIES}/token")

    def test_a_wrong_token_is_refused(self):
        with self.assertRaisesRegex(Refused, "AuthenticationFailed"):
            self.az.rest("get", f"{azure.ENDPOINT}{POLICIES}?{VERSION}",
                         "--headers", "Authorization=Bearer wrong")


class ServicePrincipal(unittest.TestCase):
    """Signed in with an id and a secret, as scripts do it."""

    @classmethod
    def setUpClass(cls):
        STAGE.assign(ISSUER.principal("deploy"), "Owner")
        cls.az = Az("deploy")
        cls.az.register()
        cls.accounts = cls.az("login", "--service-principal", "--username", "deploy",
                              "--password", cls.az.file("secret", ISSUER.secret),
                              "--tenant", TENANT)

    def test_the_subscription_is_found(self):
        [account] = self.accounts
        self.assertEqual(account["id"], azure.SUBSCRIPTION)
        self.assertEqual(account["cloudName"], "postern")
        self.assertEqual(account["state"], "Enabled")
        self.assertEqual(self.az("account", "show")["user"],
                         {"name": "deploy", "type": "servicePrincipal"})
        # Not from what az has kept.
        [again] = self.az("account", "list", "--refresh")
        self.assertEqual(again["id"], azure.SUBSCRIPTION)

    def test_policies_are_listed_and_shown(self):
        put_policies(self, "shown")
        as_owner("POST", "shown/initiate", ask_for())
        port_of("shown")
        region = ("--location", azure.LOCATION)
        group = ("--resource-group", azure.GROUP)
        for where in ((), region, group, region + group):
            self.assertEqual(names(self.az.policies("list", *where)), ["shown"], where)
        self.assertEqual(self.az.policies("list", "--location", "elsewhere"), [])
        policy = self.az.policies("show", "--name", "shown", *region, *group)
        self.assertEqual(policy["id"], f"{POLICIES}/shown")
        self.assertEqual(policy["resourceGroup"], azure.GROUP)
        self.assertEqual(policy["provisioningState"], "Succeeded")
        [vm] = policy["virtualMachines"]
        self.assertEqual(vm["id"], azure.VM_ID)
        self.assertEqual(vm["ports"][0]["maxRequestAccessDuration"], "PT3H")
        [request] = policy["requests"]
        self.assertEqual(request["requestor"], "user:owner")
        self.assertEqual(request["virtualMachines"][0]["ports"][0]["status"], "Initiated")
        with self.assertRaisesRegex(Refused, "PolicyNotFound"):
            self.az.policies("show", "--name", "none", *region, *group)

    def test_a_list_of_several_pages_is_whole(self):
        wanted = ["odd_(1).name-", *(f"p{number}" for number in range(MANY))]
        put_policies(self, *wanted)
        self.assertEqual(names(self.az.policies("list")), sorted(wanted))

    def test_access_is_asked_for_and_ended(self):
        # az has no command for these; its users name the operation by its path.
        path = POLICIES.replace(azure.SUBSCRIPTION, "{subscriptionId}")
        self.addCleanup(delete_policies, "asked")
        made = self.az.rest("put", f"{path}/asked?{VERSION}", body=policy_of())
        self.assertEqual(made["properties"]["requests"], [])
        asked = self.az.rest("post", f"{path}/asked/initiate?{VERSION}", body=ask_for())
        self.assertEqual(asked["requestor"], ISSUER.principal("deploy"))
        self.assertEqual(port_of("asked")["status"], "Initiated")
        with self.assertRaisesRegex(Refused, "InvalidInitiateInput"):
            self.az.rest("post", f"{path}/asked/initiate?{VERSION}", body=ask_for(port=23))
        [grant] = [grant for grant in STAGE.grants()
                   if grant["requestor"] == ISSUER.principal("deploy")]
        self.assertEqual((grant["state"], grant["source_prefixes"]), ("ACTIVE", [f"{SOURCE}/32"]))
        self.az.rest("delete", f"{path}/asked?{VERSION}")
        self.assertEqual(names(self.az.policies("list")), [])
        wait_for(lambda: all(grant["state"] != "ACTIVE" for grant in STAGE.grants()),
                 "the agent has closed the port", azure.START_SECONDS)


class ManagedIdentity(unittest.TestCase):
    """Signed in as the machine that az runs on."""

    @classmethod
    def setUpClass(cls):
        STAGE.assign(ISSUER.principal("machine"), "Reader")
        cls.az = Az("machine", APPSETTING_WEBSITE_SITE_NAME="site",
                    MSI_ENDPOINT=ISSUER.identity_url, MSI_SECRET=ISSUER.secret)
        cls.az.register()
        [cls.account] = cls.az("login", "--identity")

    def test_a_reader_reads_alone(self):
        self.assertEqual(self.account["id"], azure.SUBSCRIPTION)
        put_policies(self, "read")
        self.assertEqual(names(self.az.policies("list")), ["read"])
        with self.assertRaisesRegex(Refused, "AuthorizationFailed"):
            self.az.rest("post", f"{POLICIES}/read/initiate?{VERSION}", body=ask_for())


class Documents(unittest.TestCase):
    """What docs/operations.md tells people to type, as it stands there."""

    def test_the_recipe(self):
        put_policies(self, "default")
        az = Az("recipe")
        owner = pathlib.Path(azure.OWNER_TOKEN)
        az.file("token", owner.read_text())
        az.file("secret", ISSUER.secret)
        az.file("request.json", json.dumps(ask_for()))
        az.file("ca.pem", pathlib.Path(TRUSTED).read_text())
        az.shell(recipe(), PATH=f"{STAGE.programs / 'cli'}:{os.environ['PATH']}",
                 POSTERN_CONTROLLER=azure.ENDPOINT, POSTERN_TOKEN_FILE=str(owner.resolve()),
                 POSTERN_CA=str(pathlib.Path(azure.AUTHORITY).resolve()))
        self.assertEqual(port_of("default")["status"], "Initiated")
        [request] = as_owner("GET", "default")["properties"]["requests"]
        self.assertEqual(request["requestor"], ISSUER.principal("recipe"))


def main(options):
    # pylint: disable=global-statement
    global STAGE, ISSUER
    STAGE = azure.Stage(options.programs)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        ISSUER = Issuer(TENANT)
        STAGE.start(f"oidc: [{{issuer: '{ISSUER.name}', audience: '{RESOURCE}', "
                    f"jwks: {ISSUER.keys}}}]\n")
        authorities = [pathlib.Path(path).read_text()
                       for path in (azure.AUTHORITY, ISSUER.certificate)]
        azure.write(TRUSTED, "".join(authorities))
        suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
        good = unittest.TextTestRunner(verbosity=2, buffer=True).run(suite).wasSuccessful()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        good = False
    if not good:
        print(STAGE.logs(), file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    OPTIONS = parse()
    sys.exit(main(OPTIONS) if OPTIONS.inside else outside(OPTIONS))
