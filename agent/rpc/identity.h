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

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_IDENTITY_H_
