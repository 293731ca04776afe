// A grant and its parts, as values.

#ifndef POSTERN_AGENT_GRANTS_GRANT_H_
#define POSTERN_AGENT_GRANTS_GRANT_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/prefix.h"

namespace postern {

// IANA protocol numbers.
enum class Protocol : uint8_t { kTcp = 6, kUdp = 17 };

// A port number with the protocols that are meant; at least one is set.
struct Port {
  uint16_t number = 0;
  bool tcp = false;
  bool udp = false;

  // "22/tcp", "22/udp" or "22/any".
  std::string ToString() const;

  friend auto operator<=>(const Port&, const Port&) = default;
};

// What one element of a kernel set admits: packets of `protocol` from `source`
// to `port` of this host.
struct AccessKey {
  Prefix source;
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;

  std::string ToString() const;

  friend auto operator<=>(const AccessKey&, const AccessKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const AccessKey& k) {
    return H::combine(std::move(h), k.source, k.protocol, k.port);
  }
};

// What happens to live sessions at the grant's end.
enum class OnExpiry : uint8_t { kKeep, kCut, kReset };

enum class GrantState : uint8_t { kActive, kExpired, kRevoked, kSuperseded };

// What the kernel counted for a grant.
struct Usage {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  std::optional<absl::Time> first_used;
  std::optional<absl::Time> last_used;

  friend bool operator==(const Usage&, const Usage&) = default;
};

// What a caller asks for. Nothing in it has been believed yet.
struct GrantRequest {
  std::string id;
  std::vector<Prefix> sources;
  std::vector<Port> ports;
  absl::Duration duration;
  std::optional<absl::Time> not_after;
  std::string requestor;
  std::string justification;
  // Empty: the configured default.
  std::optional<OnExpiry> on_expiry;
  // The caller's clock when it asked; no part of the content.
  std::optional<absl::Time> sent_at;
};

struct Grant {
  std::string id;
  // Order of creation on this host, from 1.
  int64_t sequence = 0;
  std::vector<Prefix> sources;
  // Those that moves have taken from it: sessions from there end with it.
  std::vector<Prefix> earlier_sources;
  std::vector<Port> ports;
  // What was asked for, extensions included.
  absl::Duration duration;
  std::optional<absl::Time> not_after;
  std::string requestor;
  std::string justification;
  OnExpiry on_expiry = OnExpiry::kKeep;
  // The authenticated peer that created it.
  std::string created_by;
  // Identifies the content of the request that created it; see
  // RequestFingerprint.
  std::string request_fingerprint;

  GrantState state = GrantState::kActive;
  absl::Time start;
  // While active: when access will end. Afterwards: when it ended.
  absl::Time end;
  // The end that is enforced, on the clock that does not step. Meaningful while
  // active, within the boot named by `boot_id`.
  BootTime deadline;
  std::string boot_id;
  // Why it ended, in words; empty while active.
  std::string end_cause;
  // It ended, and the sessions that it admitted are still to be ended.
  bool sessions_pending = false;
  Usage usage;
  // This host's clock minus the caller's when the grant was asked for; empty
  // where the caller did not tell its own.
  std::optional<absl::Duration> clock_skew;

  friend bool operator==(const Grant&, const Grant&) = default;
};

// Every element that `grant` claims, without repeats.
std::vector<AccessKey> KeysOf(const Grant& grant);

// The same, and what it claimed before it was moved: it has admitted sessions there.
std::vector<AccessKey> SessionKeysOf(const Grant& grant);

// A digest that is equal for two requests exactly when they ask for the same,
// the id aside. The order of sources and of ports does not matter.
std::string RequestFingerprint(const GrantRequest& request);

}  // namespace postern

#endif  // POSTERN_AGENT_GRANTS_GRANT_H_
