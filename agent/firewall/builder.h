// From what the gate should be to the transactions that make it so. Pure.

#ifndef POSTERN_AGENT_FIREWALL_BUILDER_H_
#define POSTERN_AGENT_FIREWALL_BUILDER_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/firewall/ruleset.h"
#include "common/clock.h"
#include "common/prefix.h"

namespace postern {

// The agent's own port and who may reach it.
struct OwnPort {
  uint16_t port = 0;
  std::vector<Prefix> from;
  friend bool operator==(const OwnPort&, const OwnPort&) = default;
};

struct GateOptions {
  // False: everything is counted and nothing dropped.
  bool enforce = true;
  // Where it enforces: until then, and nothing is dropped afterwards, also where no
  // daemon lives to say so. Empty: for good.
  std::optional<BootTime> enforce_until = std::nullopt;
  std::vector<uint16_t> ports;
  // Loopback is always one of them.
  std::vector<std::string> trusted_interfaces;
  std::vector<Prefix> always_allow;
  std::optional<OwnPort> own_port;
  friend bool operator==(const GateOptions&, const GateOptions&) = default;
};

inline constexpr char kDroppedCounter[] = "dropped";
// The nfnetlink_log group that hears of sources refused for the first time.
inline constexpr uint16_t kDeniedLogGroup = 22338;
// Holds each family for as long as a gate enforces that does not enforce for good.
inline constexpr char kArmedSet[] = "armed";
inline constexpr char kOlderIpv4Set[] = "older4";
inline constexpr char kOlderIpv6Set[] = "older6";

// The whole table but its granted elements: chains, counters, constant sets,
// the granted sets in `sets`, the sets of refused sources with those of `denied`,
// and the rules.
Transaction BuildTable(const GateOptions& options, const std::set<SetId>& sets,
                       const std::vector<Flow>& older,
                       const std::vector<InstalledElement>& denied = {});

// The step from one collection of granted sets to another on a standing table:
// new sets, the rules anew, unused sets gone. Element operations that need a new
// set go after `before_elements` and ahead of `after_elements`.
struct SetChange {
  Transaction before_elements;
  Transaction after_elements;
};
SetChange ChangeSets(const GateOptions& options, const std::set<SetId>& from,
                     const std::set<SetId>& to);

}  // namespace postern

#endif  // POSTERN_AGENT_FIREWALL_BUILDER_H_
