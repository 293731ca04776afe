// One line of the local audit.

#ifndef POSTERN_AGENT_GRANTS_AUDIT_H_
#define POSTERN_AGENT_GRANTS_AUDIT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/grants/grant.h"
#include "common/prefix.h"

namespace postern {

// The numbers are stored and sent (AuditKind in agent.proto): never reuse one.
enum class AuditKind : uint8_t {
  kGrantCreated = 1,
  kGrantExtended = 2,
  kGrantMoved = 3,
  kGrantRevoked = 4,
  kGrantExpired = 5,
  // Recorded, then refused by the kernel.
  kGrantFailed = 6,
  kAgentStarted = 7,
  kAgentStopped = 8,
  kConfigReloaded = 9,
  kFirewallRepaired = 10,
  // The wall clock stepped, or the machine slept.
  kClockChanged = 11,
  kLockedDown = 12,
  kLockdownLifted = 13,
  kArmed = 14,
  kConfirmed = 15,
  kDisarmed = 16,
  // The ledger could not be read; it was set aside, and a new one begun.
  kLedgerReplaced = 17,
  // Grants of before a reboot that were withheld are live again.
  kGrantsRestored = 18,
};

struct AuditEvent {
  // Counts up from 1 without gaps.
  uint64_t number = 0;
  absl::Time time;
  AuditKind kind = AuditKind::kGrantCreated;
  // The authenticated peer, "local" or "agent".
  std::string actor;
  // Empty, like the fields below, for events that concern no grant.
  std::string grant_id;
  std::string requestor;
  std::vector<Prefix> sources;
  std::vector<Port> ports;
  std::optional<absl::Time> end;
  std::string detail;

  friend bool operator==(const AuditEvent&, const AuditEvent&) = default;
};

}  // namespace postern

#endif  // POSTERN_AGENT_GRANTS_AUDIT_H_
