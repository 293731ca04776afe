// Who a certificate's names stand for. The input is lines:
//   ROLE SAN     a rule of agent.yaml; ROLE is viewer, operator or controller
//   uri NAME     a name in the certificate
//   dns NAME
//   peer TEXT    what gRPC calls the peer's address

#include "agent/rpc/identity.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/grpc/peer.h"
#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

constexpr size_t kMostMessage = 4096;

struct Scene {
  std::vector<PeerRule> rules;
  CertificateNames names;
};

void CheckAddress(absl::string_view grpc_peer) {
  const std::optional<Endpoint> peer = EndpointOfPeer(grpc_peer);
  if (!peer.has_value()) return;
  const absl::StatusOr<Address> again = Address::Parse(peer->address.ToString());
  FUZZ_CHECK(again.ok() && *again == peer->address);
}

Scene Read(absl::string_view text) {
  Scene scene;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "uri ")) {
      scene.names.uris.emplace_back(line);
    } else if (absl::ConsumePrefix(&line, "dns ")) {
      scene.names.dns_names.emplace_back(line);
    } else if (absl::ConsumePrefix(&line, "peer ")) {
      CheckAddress(line);
    } else {
      for (const Role role : {Role::kViewer, Role::kOperator, Role::kController}) {
        if (!absl::ConsumePrefix(&line, RoleName(role)) || !absl::ConsumePrefix(&line, " ")) {
          continue;
        }
        scene.rules.push_back({.san = std::string(line), .role = role});
        break;
      }
    }
  }
  return scene;
}

// Nobody gets a role that no rule gives to one of their names.
void CheckPeer(const Scene& scene) {
  const absl::StatusOr<Peer> peer = ResolvePeer(scene.names, scene.rules);
  std::vector<std::string> names = scene.names.uris;
  names.insert(names.end(), scene.names.dns_names.begin(), scene.names.dns_names.end());
  std::optional<Role> highest;
  for (const PeerRule& rule : scene.rules) {
    const bool named = std::find(names.begin(), names.end(), rule.san) != names.end();
    if (named) highest = std::max(highest.value_or(rule.role), rule.role);
  }
  FUZZ_CHECK(peer.ok() == highest.has_value());
  if (!peer.ok()) {
    FUZZ_CHECK(absl::IsUnauthenticated(peer.status()));
    FUZZ_CHECK(IsGoodMessage(peer.status().message(), kMostMessage));
    return;
  }
  FUZZ_CHECK(peer->role == *highest);
  FUZZ_CHECK(std::find(scene.rules.begin(), scene.rules.end(),
                       PeerRule{.san = peer->name, .role = peer->role}) != scene.rules.end());
  const absl::Status allowed = CheckRole(*peer, Role::kController, "CreateGrant");
  FUZZ_CHECK(allowed.ok() == (*highest == Role::kController));
  if (!allowed.ok()) FUZZ_CHECK(IsGoodMessage(allowed.message(), 4 * kMostMessage));
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::CheckPeer(postern::Read(postern::AsText(data, size)));
  return 0;
}
