// Who calls, and what they may do.

#ifndef POSTERN_AGENT_RPC_IDENTITY_H_
#define POSTERN_AGENT_RPC_IDENTITY_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/config/config.h"
#include "common/prefix.h"

namespace postern {

// An authenticated caller.
struct Peer {
  // The subject alternative name that agent.yaml knows, or "local".
  std::string name;
  Role role = Role::kViewer;

  friend bool operator==(const Peer&, const Peer&) = default;
};

// Whoever can open the local socket.
Peer LocalPeer();

// The names in a verified certificate.
struct CertificateNames {
  std::vector<std::string> uris;
  std::vector<std::string> dns_names;
};

// The rule that one of `names` matches as a whole; with several, the one with
// the highest role, and the first of these. UNAUTHENTICATED when none does, with
// the names and what to write in agent.yaml.
absl::StatusOr<Peer> ResolvePeer(const CertificateNames& names, const std::vector<PeerRule>& rules);

// PERMISSION_DENIED, naming the role that `call` needs, when the peer's is lower.
absl::Status CheckRole(const Peer& peer, Role needed, absl::string_view call);

// "viewer", "operator" or "controller".
absl::string_view RoleName(Role role);

// The other end of a TCP connection.
struct Endpoint {
  Address address;
  uint16_t port = 0;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// What gRPC's name of a peer says: "ipv4:192.0.2.1:50000" or
// "ipv6:%5B2001:db8::1%5D:50000"; a zone is left out and an IPv4-mapped address
// taken as IPv4. Empty for "unix:" and everything else.
std::optional<Endpoint> EndpointOfPeer(absl::string_view grpc_peer);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_IDENTITY_H_
