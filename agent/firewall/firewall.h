// The narrow door to the kernel's packet filter.

#ifndef POSTERN_AGENT_FIREWALL_FIREWALL_H_
#define POSTERN_AGENT_FIREWALL_FIREWALL_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/firewall/ruleset.h"

namespace postern {

// Called by one thread. Errors name the operation, the object and the kernel's
// errno:
//   UNAVAILABLE         the kernel refused, or did not answer
//   PERMISSION_DENIED   CAP_NET_ADMIN is missing
class Firewall {
 public:
  virtual ~Firewall() = default;

  // Applies all of `transaction`, or nothing. Returns after the kernel's
  // acknowledgement. Ends are turned into kernel timeouts here, rounded so that
  // access ends at its end or up to two kernel ticks later, never before.
  virtual absl::Status Commit(const Transaction& transaction) = 0;

  // Whether the table exists.
  virtual absl::StatusOr<bool> HasTable() = 0;

  // Whether the table exists and only this object can change it, and it would
  // stay if this object were gone.
  virtual absl::StatusOr<bool> OwnsTable() { return false; }

  // The granted sets that exist.
  virtual absl::StatusOr<std::vector<SetId>> ReadSets() = 0;

  // The elements of one granted set; NOT_FOUND when the set does not exist.
  virtual absl::StatusOr<std::vector<InstalledElement>> ReadElements(const SetId& set) = 0;

  // One element; empty when it is not there or has expired.
  virtual absl::StatusOr<std::optional<InstalledElement>> ReadElement(const SetId& set,
                                                                      const AccessKey& key) = 0;

  // The elements of the sets of connections older than the gate; none when the
  // sets do not exist.
  virtual absl::StatusOr<std::vector<Flow>> ReadOlderFlows() = 0;

  // The sources that the gate refused, or (where it does not enforce) would have,
  // as far as they are remembered; none when the sets do not exist.
  virtual absl::StatusOr<std::vector<InstalledElement>> ReadDenied(bool enforce) = 0;

  // A named counter of the table; NOT_FOUND when it does not exist.
  virtual absl::StatusOr<Counter> ReadCounter(absl::string_view name) = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_FIREWALL_FIREWALL_H_
