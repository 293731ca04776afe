// Orders that stand until somebody lifts them, also across restarts.

#ifndef POSTERN_AGENT_GRANTS_STANDING_H_
#define POSTERN_AGENT_GRANTS_STANDING_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"

namespace postern {

// No grant lives, and none is made.
struct Lockdown {
  absl::Time since;
  // The peer that ordered it.
  std::string actor;
  std::string reason;

  friend bool operator==(const Lockdown&, const Lockdown&) = default;
};

// When an order to enforce runs out unless it is confirmed.
struct ConfirmBy {
  absl::Time wall;
  // The same on the clock that does not step, within the boot named by `boot_id`.
  BootTime deadline;
  std::string boot_id;
  // What was given in all, which a wrong wall clock cannot lengthen.
  absl::Duration within;

  friend bool operator==(const ConfirmBy&, const ConfirmBy&) = default;
};

// The gate enforces although agent.yaml says observe.
struct Armed {
  absl::Time since;
  std::string actor;
  // Empty once confirmed.
  std::optional<ConfirmBy> confirm_by = std::nullopt;

  friend bool operator==(const Armed&, const Armed&) = default;
};

struct Standing {
  std::optional<Lockdown> lockdown;
  std::optional<Armed> armed;

  friend bool operator==(const Standing&, const Standing&) = default;
};

}  // namespace postern

#endif  // POSTERN_AGENT_GRANTS_STANDING_H_
