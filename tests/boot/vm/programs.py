"""The tests of the kernel tier that also run in the machine: those whose outcome
depends on what its kernel can do."""

import re
import subprocess

NAMES = ("nft_elements_test", "nft_firewall_test", "nft_packets_test", "gate/gate_packets_test",
         "gate/gate_sessions_test", "gate/gate_surroundings_test", "gate/gate_tamper_test",
         "gate/gate_udp_flows_test", "sessions/sessions_kernel_test")
# Where there is least that a kernel can do.
NAMES_OF = {
    "6.1": NAMES + ("gate/gate_denied_test", "gate/gate_every_port_test",
                    "doctor/doctor_bypass_test", "doctor/doctor_findings_test",
                    "daemon/daemon_test"),
    "6.12": NAMES,
}
# What those of the daemon start, by the path that they were built with.
STARTED = ("agent/posternd", "agent/exporter/postern-exporter")


def paths(build, kernel):
    """Those of the release build; all must be there."""
    found = [build / "release/tests/kernel" / name for name in NAMES_OF[kernel]]
    for path in found + started(build):
        if not path.exists():
            raise SystemExit(f"{path} is missing; build the release preset")
    return found


def started(build):
    return [build / "release" / name for name in STARTED]


def dependencies(build):
    """The packages with the shared libraries that they load."""
    libraries = set()
    for path in [path for kernel in NAMES_OF for path in paths(build, kernel)] + started(build):
        printed = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
        libraries.update(re.findall(r"=> \S*/(\S+) \(", printed))
    owners = subprocess.run(["dpkg-query", "-S", *(f"*/{name}" for name in libraries)], check=True,
                            capture_output=True, text=True).stdout
    # In gcc's, cross compilers' and debugging folders there are others of these names.
    return set(re.findall(r"^([a-z0-9.+-]+):amd64: (?:/usr)?/lib/x86_64-linux-gnu/[^/]+$", owners,
                          re.M))
