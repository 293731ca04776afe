"""The network that a box is plugged into: the namespace that the tests run in.

The people outside the box are addresses of that namespace: the operator, whom
tests grant access, and the stranger, whom they do not.
"""

import json
import subprocess

BRIDGE = "br0"
# Blocks for documentation (RFC 5737, RFC 3849).
BOX, OPERATOR, STRANGER = "192.0.2.10", "192.0.2.1", "192.0.2.66"
BOX6, OPERATOR6, STRANGER6 = "2001:db8::10", "2001:db8::1", "2001:db8::66"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def make():
    """In a new namespace, with no way out of it."""
    ip("link", "set", "lo", "up")
    ip("link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0")
    ip("link", "set", BRIDGE, "up")
    for address in (OPERATOR, STRANGER):
        ip("address", "add", f"{address}/24", "dev", BRIDGE)
    for address in (OPERATOR6, STRANGER6):
        ip("address", "add", f"{address}/64", "dev", BRIDGE, "nodad")


def remember_neighbour(links):
    """So that the first packet of a boot waits for no address resolution. `links`
    is what `ip -json link show host0` says in the box; the address stays the same
    over its boots."""
    hardware = json.loads(links)[0]["address"]
    for address in (BOX, BOX6):
        ip("neighbour", "replace", address, "lladdr", hardware, "nud", "permanent", "dev", BRIDGE)
