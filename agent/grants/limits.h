// The limits that this host sets, whatever a controller asks for.

#ifndef POSTERN_AGENT_GRANTS_LIMITS_H_
#define POSTERN_AGENT_GRANTS_LIMITS_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "agent/grants/grant.h"
#include "common/prefix.h"

namespace postern {

struct Limits {
  // The ports behind the gate; a grant for another is refused.
  std::vector<uint16_t> guarded_ports = {22, 3389, 5985, 5986};
  // The guarded ports that grants may open. Empty: all of them.
  std::vector<uint16_t> allowed_ports;
  // From start to end, extensions included.
  absl::Duration max_duration = absl::Hours(3);
  // A grant's source must lie within one of these.
  std::vector<Prefix> allowed_sources = {Prefix{}, Prefix{.address = {.family = Family::kIpv6}}};
  // The widest source prefix a grant may have, by its length in bits.
  uint8_t shortest_prefix_ipv4 = 8;
  uint8_t shortest_prefix_ipv6 = 16;
  uint32_t max_live_grants = 10'000;
  // Where a grant does not say.
  OnExpiry on_expiry = OnExpiry::kKeep;

  friend bool operator==(const Limits&, const Limits&) = default;
};

// Bounds on one request, against abuse rather than policy.
inline constexpr size_t kMaxSourcesPerGrant = 64;
inline constexpr size_t kMaxPortsPerGrant = 64;
// That moves take from one grant, and that it still ends the sessions of.
inline constexpr size_t kMaxEarlierSources = 256;
inline constexpr size_t kMaxRequestorBytes = 256;
inline constexpr size_t kMaxJustificationBytes = 4096;

}  // namespace postern

#endif  // POSTERN_AGENT_GRANTS_LIMITS_H_
