// What this kernel's nf_tables can do, found out by trying.

#ifndef POSTERN_AGENT_FIREWALL_NFT_CAPABILITIES_H_
#define POSTERN_AGENT_FIREWALL_NFT_CAPABILITIES_H_

#include "absl/status/statusor.h"

namespace postern::nft {

class Socket;

struct Capabilities {
  // NFT_MSG_DESTROYSETELEM, which removes an element that need not be there
  // (Linux 6.3).
  bool destroys_elements = false;
  // Adding an element that is there moves its end (Linux 6.12); older kernels
  // answer success and change nothing.
  bool updates_in_place = false;
  // A table can belong to one socket and outlive it (flags owner and persist,
  // Linux 6.9): other programs can neither change nor flush it.
  bool protects_tables = false;
  // A rule can hold a rate limit (module nft_limit), and send packets to a group
  // (nft_log and nfnetlink_log).
  bool limits_rates = false;
  bool logs_packets = false;

  friend bool operator==(const Capabilities&, const Capabilities&) = default;
};

// Tries them in a table of its own, "postern-probe-PID", which is gone again
// when this returns. UNAVAILABLE or PERMISSION_DENIED when the kernel refuses.
absl::StatusOr<Capabilities> Probe(Socket& socket);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_CAPABILITIES_H_
