"""The tests of the kernel tier that also run in the machine: those whose outcome
depends on what its kernel can do."""

import re
import subprocess

NAMES = ("nft_elements_test", "nft_firewall_test", "nft_packets_test", "gate/gate_packets_test",
         "gate/gate_sessions_test", "gate/gate_surroundings_test", "gate/gate_tamper_test",
         "gate/gate_udp_flows_test", "sessions/sessions_kernel_test")


def paths(build):
    """Those of the release build; all must be there."""
    found = [build / "release/tests/kernel" / name for name in NAMES]
    for path in found:
        if not path.exists():
            raise SystemExit(f"{path} is missing; build the release preset")
    return found


def dependencies(build):
    """The packages with the shared libraries that they load."""
    libraries = set()
    for path in paths(build):
        printed = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
        libraries.update(re.findall(r"=> \S*/(\S+) \(", printed))
    owners = subprocess.run(["dpkg-query", "-S", *(f"*/{name}" for name in libraries)], check=True,
                            capture_output=True, text=True).stdout
    # In gcc's, cross compilers' and debugging folders there are others of these names.
    return set(re.findall(r"^([a-z0-9.+-]+):amd64: (?:/usr)?/lib/x86_64-linux-gnu/[^/]+$", owners,
                          re.M))
