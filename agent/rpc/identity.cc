#include "agent/rpc/identity.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/text.h"

namespace postern {
namespace {

// A certificate may hold any number of names of any length.
constexpr size_t kMaxNamesTold = 4;
constexpr size_t kMaxNameBytesTold = 128;

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Told(const CertificateNames& names) {
  std::vector<std::string> all = names.uris;
  all.insert(all.end(), names.dns_names.begin(), names.dns_names.end());
  if (all.empty()) return "has no URI or DNS name";
  std::string told = "names ";
  for (size_t i = 0; i < std::min(all.size(), kMaxNamesTold); ++i) {
    absl::StrAppend(&told, i == 0 ? "\"" : ", \"", Printable(all[i].substr(0, kMaxNameBytesTold)),
                    "\"");
  }
  if (all.size() > kMaxNamesTold) {
    absl::StrAppend(&told, " and ", all.size() - kMaxNamesTold, " more");
  }
  return told;
}

}  // namespace

Peer LocalPeer() { return {.name = "local", .role = Role::kController}; }

absl::StatusOr<Peer> ResolvePeer(const CertificateNames& names,
                                 const std::vector<PeerRule>& rules) {
  const PeerRule* best = nullptr;
  for (const PeerRule& rule : rules) {
    if (!Holds(names.uris, rule.san) && !Holds(names.dns_names, rule.san)) continue;
    if (best == nullptr || rule.role > best->role) best = &rule;
  }
  if (best != nullptr) return Peer{.name = best->san, .role = best->role};
  return absl::UnauthenticatedError(
      absl::StrCat("the client's certificate ", Told(names),
                   "; no peer in the agent's agent.yaml has that san (listen.peers)"));
}

absl::Status CheckRole(const Peer& peer, Role needed, absl::string_view call) {
  if (peer.role >= needed) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(call, " needs the role ", RoleName(needed), "; ",
                                                  Printable(peer.name), " is ", RoleName(peer.role),
                                                  " (listen.peers in the agent's agent.yaml)"));
}

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kViewer:
      return "viewer";
    case Role::kOperator:
      return "operator";
    case Role::kController:
      return "controller";
  }
  return "unknown";
}

}  // namespace postern
