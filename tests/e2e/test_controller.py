"""The controller's package: its life on a host, and what it does for an agent there."""

import json
import pathlib
import re
import stat
import sys

from harness import lan
from harness.case import Case
from harness.controller import (CONFIGURATION, STATE, SUBSCRIPTION, UNIT, VM, Controller,
                                Refused)

DROP_INS = f"{CONFIGURATION}.d"
KEYS = "/etc/postern/controller-tls"
# A hundredth of 1.5 of systemd-analyze.
MOST_EXPOSURE = 15
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def displays(page):
    """The examples of a manual page, as they are typed."""
    text = (DOCS / "man" / page).read_text("utf-8").split(".Sh EXAMPLES")[1]
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", text, re.M | re.S)
    return [block.replace("\\e", "\\") for block in blocks]


class ControllerCase(Case):
    def setUp(self):
        super().setUp()
        self.controller = Controller(self.box)

    def install_controller(self, deb=None):
        self.box.boot()
        output = self.box.install(deb or self.controller_deb)
        self.controller.wait_ready()
        return output

    def install_both(self, deb=None):
        """With the agent attached."""
        self.install_controller(deb)
        self.attach_agent("localhost:7444")

    def attach_agent(self, address):
        # The state folder is the controller's alone.
        self.box.write("/etc/postern/fleet-ca.pem",
                       self.box.path(f"{STATE}/ca.pem").read_text("ascii"))
        self.box.write("/etc/postern/join.token", self.controller.join_token())
        self.agent.configure("enforce", f"""controller:
  address: "{address}"
  ca: fleet-ca.pem
  join_token_file: join.token
""")
        self.box.install(*self.debs)
        self.agent.wait_ready()
        self.controller.wait_attached()


class Package(ControllerCase):
    def test_a_fresh_installation_serves(self):
        output = self.install_controller()
        self.assertIn(f"{STATE}", output)
        self.assertEqual(self.box.run("systemctl", "is-enabled", UNIT).stdout, "enabled\n")
        status = self.box.run("systemctl", "status", "--no-pager", UNIT).stdout
        self.assertRegex(status, r"Active: active \(running\)")
        self.assertIn("serving at https://box:8443; agents at port 7444, 0 attached", status)
        self.assertEqual(self.controller.vms(), [])
        with self.assertRaises(Refused) as refused:
            self.controller.vms(token="postern-guessed")
        self.assertEqual(refused.exception.status, 401)

        # Nothing of it changes with a boot.
        token, authority = self.controller.token(), self.box.path(f"{STATE}/ca.pem").read_text()
        self.box.reboot()
        self.controller.wait_ready()
        self.assertEqual(self.controller.token(), token)
        self.assertEqual(self.box.path(f"{STATE}/ca.pem").read_text(), authority)
        self.assertEqual(self.controller.vms(), [])
        self.assertEqual(self.box.run("systemctl", "--failed", "--plain", "--no-legend").stdout, "")

    def test_whose_files_they_are_and_what_the_daemon_may(self):
        self.install_controller()
        user = next(line.split(":") for line in self.box.path("/etc/passwd").read_text().splitlines()
                    if line.startswith("postern-controller:"))
        self.assertRegex(user[6], "nologin$")
        for name, mode in (("", 0o700), ("owner.token", 0o600), ("controller.db", 0o600),
                           ("ca.key", 0o600), ("server.key", 0o600)):
            found = self.box.path(f"{STATE}/{name}").stat()
            self.assertEqual((stat.S_IMODE(found.st_mode), str(found.st_uid)), (mode, user[2]), name)
        self.assertEqual(self.box.run("stat", "-c", "%a %U", CONFIGURATION, DROP_INS, KEYS).stdout,
                         "644 root\n755 root\n700 root\n")
        for other in ("nobody", "_apt"):
            refused = self.box.run("setpriv", f"--reuid={other}", "--clear-groups", "cat",
                                   f"{STATE}/owner.token", check=False)
            self.assertIn("Permission denied", refused.stderr)

        pid = self.box.show(UNIT, "MainPID")["MainPID"]
        process = self.box.sh(f"cat /proc/{pid}/status")
        self.assertEqual(re.search(r"^Uid:\s+(\d+)", process, re.M)[1], user[2])
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(re.search(rf"^{kind}:\s+(\w+)", process, re.M)[1], 16), 0, kind)
        self.assertRegex(process, r"\nNoNewPrivs:\s+1\n")
        self.assertRegex(process, r"\nSeccomp:\s+2\n")

    def test_exposure(self):
        self.install_controller()
        done = self.box.run("systemd-analyze", "security", "--no-pager",
                            f"--threshold={MOST_EXPOSURE}", UNIT)
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)[1]
        print(f"{UNIT} {exposure} ... ", end="", file=sys.stderr, flush=True)
        self.assertEqual(self.box.run("systemd-analyze", "verify", "--man=no", UNIT).stderr, "")

    def test_keys_that_root_alone_may_read(self):
        self.install_controller()
        self.box.install(self.debs[1])
        self.box.sh(f"posternctl pki init --dir pki; "
                    f"posternctl pki agent --dir pki --name rest --address {lan.BOX}; "
                    f"install -m 0600 pki/rest.pem pki/rest.key {KEYS}; "
                    f"install -m 0644 pki/ca.pem /root/rest-ca.pem")
        self.box.write(f"{DROP_INS}/rest.yaml", "rest:\n  tls: {cert: controller-tls/rest.pem, "
                                                "key: controller-tls/rest.key}\n")
        self.controller.restart()
        self.assertEqual(self.controller.vms(name=lan.BOX, authority="/root/rest-ca.pem"), [])

    def test_a_ready_configuration_is_kept_and_obeyed(self):
        ready = f"# of the image\nnames: [{lan.BOX}]\n"
        self.box.write(CONFIGURATION, ready)
        self.install_controller()
        self.assertEqual(self.box.path(CONFIGURATION).read_text(), ready)
        self.assertEqual(self.controller.vms(name=lan.BOX), [])

    def test_a_mistake_is_told_and_does_not_fail_the_installation(self):
        self.box.write(CONFIGURATION, "rest: {adress: here}\n")
        self.box.boot()
        output = self.box.install(self.controller_deb)
        self.assertRegex(output, r"controller\.yaml:1:\d+: .*adress.*\n.*does not start")
        self.assertFalse(self.controller.is_ready())
        self.box.write(CONFIGURATION, "")
        self.controller.restart()
        self.assertEqual(self.controller.vms(), [])

    def test_what_the_manual_tells_to_type(self):
        self.install_controller()
        check, ask, make = displays("postern-controller.8")
        self.box.sh(check)
        self.assertEqual(json.loads(self.box.sh(ask))["vms"], [])
        made = self.box.sh(make).strip()
        self.assertEqual(self.controller.vms(token=made), [])
        with self.assertRaises(Refused):
            self.controller.vms(token=made + "x")
        # The daemon can still write, whatever the other program has left.
        self.controller.join_token()

    def test_its_store_in_postgresql(self):
        self.install_controller()
        _, configuration, before = displays("controller.yaml.5")
        self.box.run("systemctl", "start", "postgresql")
        self.box.sh(before)
        self.box.write(f"{DROP_INS}/store.yaml", configuration)
        first = self.controller.token()
        self.controller.restart()
        self.assertNotEqual(self.controller.token(), first, "a new store has a new owner")
        self.controller.join_token()
        # It waits for its database, and needs nobody to go on.
        self.box.run("systemctl", "stop", "postgresql")
        self.box.run("systemctl", "restart", UNIT, check=False)
        self.assertFalse(self.controller.is_ready())
        self.box.run("systemctl", "start", "postgresql")
        self.controller.wait_ready()
        listed = self.controller.ask("GET", "/postern/v1/join-tokens")["join_tokens"]
        self.assertEqual([token["scope"].lower() for token in listed], [VM.lower()])


class WithAnAgent(ControllerCase):
    def test_what_the_rest_document_tells_to_type(self):
        self.install_both()
        [commands] = re.findall(r"^```\n(.*?)^```$", (DOCS / "rest.md").read_text("utf-8"),
                                re.M | re.S)
        commands = re.sub(r"^vm=.*$", f"vm={VM}", commands, flags=re.M)
        shown = self.box.sh("set -e\n" + commands.replace("192.0.2.7", lan.OPERATOR))
        self.assertRegex(shown, r"initiate/action,Succeeded,user:owner,.*case 4711")
        [request] = self.controller.ask("GET", "/postern/v1/requests")["requests"]
        self.controller.wait_status(request["id"], "Initiated")
        self.assert_reaches(lan.OPERATOR)
        self.assert_blocked(lan.STRANGER)

    def test_a_request_opens_the_port_and_a_restart_keeps_it(self):
        self.install_both()
        self.assert_blocked(lan.OPERATOR)
        self.controller.put_policy()
        request = self.controller.initiate()
        self.controller.wait_status(request, "Initiated")
        self.assert_reaches(lan.OPERATOR)
        self.assert_blocked(lan.STRANGER)

        self.controller.restart()
        self.controller.wait_attached()
        self.assertEqual(self.controller.status_of(request), "Initiated")
        self.assert_reaches(lan.OPERATOR)
        self.assertTrue(self.controller.ask("POST", "/postern/v1/audit/verify")["intact"])

        self.box.reboot()
        self.controller.wait_ready()
        self.controller.wait_attached()
        self.controller.wait_status(request, "Initiated")
        self.assert_reaches(lan.OPERATOR)
        self.controller.ask("POST", f"/postern/v1/requests/{request}/end", {"reason": "done"})
        self.controller.wait_status(request, "Revoked")
        self.assert_blocked(lan.OPERATOR)

    def test_the_policy_that_the_manual_shows(self):
        self.install_both()
        [policy] = displays("postern-policy.5")
        for theirs, ours in (("11111111-2222-3333-4444-555555555555", SUBSCRIPTION),
                             ("Groups/web/", "Groups/e2e/"), ("Machines/web-1", "Machines/box"),
                             ("locations/west", "locations/here")):
            self.assertIn(theirs, policy)
            policy = policy.replace(theirs, ours)
        self.box.write("/root/policy.yaml", policy)
        shown = self.box.sh("posternctl --controller https://localhost:8443 "
                            f"--ca {STATE}/ca.pem --token-file {STATE}/owner.token "
                            "policy apply -f /root/policy.yaml")
        self.assertRegex(shown, r"on expiry +cut\n *justification +required\n"
                                r" *approvals +1 of the role Security Admin")
        self.assertRegex(shown, r"box +22 +TCP +PT3H +203\.0\.113\.0/24, 2001:db8::/32")

    def test_an_upgrade_restarts_it_and_keeps_its_state(self):
        self.install_both(self.previous_controller_deb())
        self.controller.put_policy()
        request = self.controller.initiate()
        self.controller.wait_status(request, "Initiated")
        self.box.write(f"{DROP_INS}/audit.yaml", "audit: {keep: 400d}\n")
        before = self.box.show(UNIT, "MainPID")

        self.box.install(self.controller_deb)
        self.controller.wait_ready()
        self.assertNotEqual(self.box.show(UNIT, "MainPID"), before)
        self.assertTrue(self.box.path(f"{DROP_INS}/audit.yaml").exists())
        self.controller.wait_attached()
        self.assertEqual(self.controller.status_of(request), "Initiated")
        self.assert_reaches(lan.OPERATOR)

    def test_each_is_purged_without_the_other(self):
        self.install_both()
        self.box.apt("purge", "postern-agent")
        self.assertFalse(self.box.path("/etc/postern/agent.yaml").exists())
        self.assertFalse(self.box.path("/etc/postern/tls").exists())
        self.assertTrue(self.controller.is_ready())
        self.assertEqual(self.box.run("dpkg", "--verify", "postern-controller").stdout, "")
        self.controller.restart()
        self.assertEqual(len(self.controller.vms()), 1)

        self.box.install(*self.debs)
        self.agent.wait_ready()
        self.box.apt("purge", "postern-controller")
        self.assertFalse(self.box.path(CONFIGURATION).exists())
        self.assertEqual(self.box.run("dpkg", "--verify", "postern-agent").stdout, "")
        self.box.run("systemctl", "restart", "postern-agent")
        self.assertTrue(self.agent.is_ready())


class Several(ControllerCase):
    """Two on one PostgreSQL, under a name with two addresses; both in one box, so the second
    is the package's program under a unit of the test's own."""

    SECOND = "second.service"
    SECOND_REST = 9443

    def configure_first(self):
        _, store, before = displays("controller.yaml.5")
        self.box.run("systemctl", "start", "postgresql")
        self.box.sh(f"{before}\necho '127.0.0.1 fleet\n127.0.0.2 fleet' >> /etc/hosts")
        self.box.write(f"{DROP_INS}/store.yaml",
                       f"names: [fleet, localhost]\nagents: {{address: '127.0.0.1:7444'}}\n{store}")

    def start_second(self):
        _, store, _ = displays("controller.yaml.5")
        self.box.write("/etc/postern/second.yaml", f"""
names: [fleet, localhost]
agents: {{address: "127.0.0.2:7444"}}
rest: {{address: "[::]:{self.SECOND_REST}"}}
state_dir: /var/lib/second
authority: {{cert: {STATE}/ca.pem, key: {STATE}/ca.key}}
{store}""")
        self.box.run("systemd-run", f"--unit={self.SECOND}", "--uid=postern-controller",
                     "--property=Type=notify", "--property=StateDirectory=second",
                     "postern-controller", "--config", "/etc/postern/second.yaml")

    def ask_second(self, method, path, body=None):
        return self.controller.ask(method, path, body, port=self.SECOND_REST)

    def test_one_dies_and_the_agent_moves_over(self):
        self.install_controller()
        self.configure_first()
        self.controller.restart()
        self.attach_agent("fleet:7444")
        self.start_second()
        self.assertTrue(self.ask_second("GET", "/postern/v1/vms")["vms"][0]["attached"])

        # Asked of the one, and told to the agent by the other.
        self.controller.put_policy(ask=self.ask_second)
        before = self.controller.initiate(ask=self.ask_second)
        self.controller.wait_status(before, "Initiated")
        self.assert_reaches(lan.OPERATOR)

        self.box.sh(f"systemctl kill --signal=SIGKILL {UNIT}; systemctl stop {UNIT}")
        self.assert_reaches(lan.OPERATOR)
        # The same person asks for the same port again: the newer request stands.
        meanwhile = self.controller.initiate(lan.STRANGER, ask=self.ask_second)
        self.controller.wait_status(meanwhile, "Initiated", ask=self.ask_second)
        self.assert_reaches(lan.STRANGER)
        self.assert_blocked(lan.OPERATOR)

        # Each was applied once, and all of it is on record in one chain.
        applied = [event["detail"]["request"]
                   for event in self.ask_second("GET", "/postern/v1/audit")["events"]
                   if event["operation"] == "Postern/grants/apply"]
        self.assertEqual(applied, [before, meanwhile])
        self.assertTrue(self.ask_second("POST", "/postern/v1/audit/verify")["intact"])


class Removal(ControllerCase):
    def test_remove_keeps_the_state_and_purge_leaves_nothing(self):
        self.install_controller()
        token = self.controller.token()
        self.box.apt("remove", "postern-controller")
        self.assertEqual(self.box.state(UNIT), "inactive")
        self.assertTrue(self.box.path(CONFIGURATION).exists())
        self.box.install(self.controller_deb)
        self.controller.wait_ready()
        self.assertEqual(self.controller.token(), token)
        self.assertEqual(self.controller.vms(), [])

        self.box.apt("purge", "postern-controller")
        left = self.box.sh("find / -xdev -name '*postern*' -not -path '/var/cache/*' "
                           "-not -path '/var/log/*' -not -path '/proc/*' -not -path '/sys/*'")
        self.assertEqual(left, "")
        self.assertNotIn("postern-", self.box.run("systemctl", "list-units", "--all").stdout)

        # And a new beginning is one.
        self.box.install(self.controller_deb)
        self.controller.wait_ready()
        self.assertNotEqual(self.controller.token(), token)
