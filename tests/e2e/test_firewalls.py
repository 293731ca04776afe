"""Other programs that write firewall rules on the same host."""

import json

from harness import lan
from harness.case import Case
from harness.probes import OPEN_PORT, Target, everything

GRANTED = Target(lan.OPERATOR, 3389)

NFTABLES = """#!/usr/sbin/nft -f
flush ruleset
table inet filter {
  chain input { type filter hook input priority filter; policy accept; }
}
"""

# What a container engine makes for `-p 3389:22 -p 9022:9022`, with the container
# in a namespace of its own behind a bridge.
CONTAINER = """
ip netns add container
ip link add engine0 type bridge
ip link set engine0 up
ip address add 172.18.0.1/24 dev engine0
ip link add port0 master engine0 type veth peer name eth0 netns container
ip link set port0 up
in_container="nsenter --net=/run/netns/container"
$in_container ip link set lo up
$in_container ip link set eth0 up
$in_container ip address add 172.18.0.2/24 dev eth0
$in_container ip route add default via 172.18.0.1
sysctl -qw net.ipv4.ip_forward=1
"""
PUBLISH = """
nft -f - <<'NFT'
table ip nat {
  chain DOCKER { }
  chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; }
}
flush table ip nat
table ip nat {
  chain DOCKER {
    iifname != "engine0" tcp dport 3389 dnat to 172.18.0.2:22
    iifname != "engine0" tcp dport 9022 dnat to 172.18.0.2:9022
  }
  chain PREROUTING {
    fib daddr type local jump DOCKER
  }
}
NFT
"""


class Firewalls(Case):
    def beside(self, *steps):
        """Each step is what another program's operator does; the probing goes on
        through all of them, and a grant stays in force."""
        probes = self.probe(GRANTED, *everything())
        probes.wait_answer(GRANTED)
        for step in steps:
            step()
            probes.wait_answer(GRANTED)
            probes.wait_answer()
        self.assert_never_in(probes, everything())
        return probes

    def systemctl(self, *words):
        return lambda: self.box.run("systemctl", *words)

    def reboot(self):
        self.box.reboot()
        self.agent.wait_ready()

    def findings(self):
        """What the doctor found, by name."""
        done = self.box.run("posternctl", "doctor", "-o", "json", check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return {f["name"]: f for f in json.loads(done.stdout)["findings"]}

    def assert_only_notices(self, found):
        self.assertLessEqual({f["severity"] for f in found.values()}, {"NOTICE"}, found)

    def test_nftables_service(self):
        self.install()
        self.box.write("/etc/nftables.conf", NFTABLES, 0o755)
        self.agent.grant(port=3389)
        self.beside(self.systemctl("enable", "--now", "nftables"),
                    self.systemctl("reload", "nftables"),
                    self.systemctl("restart", "nftables"),
                    self.systemctl("stop", "nftables"),
                    self.systemctl("start", "nftables"),
                    # Its flush comes in the boot as well.
                    self.reboot,
                    self.systemctl("restart", "nftables"))
        self.assert_only_notices(self.findings())

    def test_nftables_service_that_drops(self):
        """A port that another table drops is not opened by a grant, and the doctor
        says so."""
        self.install()
        self.box.write("/etc/nftables.conf",
                       NFTABLES.replace("accept;", "accept; tcp dport 22 drop;"), 0o755)
        self.box.run("systemctl", "restart", "nftables")
        self.agent.grant()
        self.assert_blocked(lan.OPERATOR)
        found = self.findings()
        self.assertIn("foreign-drop", found)
        self.assertIn("22", found["foreign-drop"]["finding"])
        self.assertEqual(self.agent.ctl("doctor", check=False).returncode, 1)

    def test_firewalld(self):
        self.install()
        ports = ("22/tcp", "3389/tcp", "3389/udp", f"{OPEN_PORT}/tcp")
        self.box.run("firewall-offline-cmd", *(f"--add-port={port}" for port in ports))
        self.agent.grant(port=3389)
        self.beside(self.systemctl("enable", "--now", "firewalld"),
                    lambda: self.box.run("firewall-cmd", "--reload"),
                    lambda: self.box.run("firewall-cmd", "--complete-reload"),
                    self.systemctl("restart", "firewalld"),
                    self.reboot,
                    self.systemctl("stop", "firewalld"),
                    self.systemctl("start", "firewalld"))
        found = self.findings()
        self.assertIn("firewalld", found)
        self.assert_only_notices(found)

        # A zone that does not let the port in makes grants void.
        self.box.run("firewall-cmd", "--remove-port=3389/tcp")
        self.assert_blocked(lan.OPERATOR, 3389)
        self.assertIn("3389", self.findings()["foreign-drop"]["finding"])

    def test_published_ports(self):
        self.install()
        self.box.sh(CONTAINER)
        listener = self.box.start(
            "nsenter", "--net=/run/netns/container", "/usr/bin/python3", "-c",
            "import socket, time; s = socket.create_server(('', 22), backlog=4096);"
            "time.sleep(1000)")
        self.addCleanup(listener.wait)
        self.addCleanup(listener.kill)
        self.assert_reaches(lan.STRANGER, OPEN_PORT)
        self.agent.grant(port=3389)

        def publish():
            self.box.sh(PUBLISH)
        guarded = [Target(lan.STRANGER, 3389)]
        probes = self.probe(GRANTED, *guarded, *everything())
        for step in (publish, publish, lambda: self.box.run("nft", "delete", "table", "ip", "nat"),
                     publish, self.systemctl("restart", "postern-agent")):
            step()
            probes.wait_answer(GRANTED)
            probes.wait_answer()
        self.assert_never_in(probes, guarded + everything())
        # It is the container that answers.
        self.assertIn("172.18.0.2", self.box.run("conntrack", "-L", "-p", "tcp").stdout)
        found = self.findings()
        self.assertIn("published-port", found)
        self.assertIn("3389", found["published-port"]["finding"])
        self.assertIn("172.18.0.2", found["published-port"]["finding"])
