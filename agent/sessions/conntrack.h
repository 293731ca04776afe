// The kernel's connection tracking table, by ctnetlink.

#ifndef POSTERN_AGENT_SESSIONS_CONNTRACK_H_
#define POSTERN_AGENT_SESSIONS_CONNTRACK_H_

#include <linux/netlink.h>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/ruleset.h"
#include "agent/sessions/matching.h"
#include "agent/sessions/netlink.h"
#include "common/prefix.h"

namespace postern {

struct ConntrackEntry {
  TrackedFlow flow;
  // The attributes that name the entry to the kernel (original tuple and zone),
  // as the kernel sent them.
  Bytes name;
  // Tells it from a later entry of the same name; network order.
  std::array<uint8_t, 4> id = {};
};

// Called by one thread.
class Conntrack {
 public:
  // Opened in the calling thread's network namespace.
  static absl::StatusOr<Conntrack> Open();

  // Shows `visit` each TCP and UDP entry that a client of one of `services`
  // made; others may come as well. An entry may be shown twice.
  absl::Status Visit(const std::set<EndedKeys::Service>& services,
                     absl::FunctionRef<void(ConntrackEntry)> visit);

  // Whether there is an entry, of either direction, for each of these TCP flows.
  absl::StatusOr<std::vector<bool>> Has(const std::vector<Flow>& served);

  // Marks the entries for cutting. Returns the errno of each, 0 for marked, in
  // the same order: ENOENT when it has gone, ENOSPC or EOPNOTSUPP when it cannot
  // bear a label.
  absl::StatusOr<std::vector<int>> Mark(const std::vector<ConntrackEntry>& entries);

  // Deletes the entries; results as of Mark.
  absl::StatusOr<std::vector<int>> Delete(const std::vector<ConntrackEntry>& entries);

  // The status for an errno that Mark or Delete returned.
  absl::Status Refused(int error_number, absl::string_view what) const;

 private:
  explicit Conntrack(NetlinkSocket netlink) : netlink_(std::move(netlink)) {}

  absl::Status VisitFiltered(Family family, std::optional<std::pair<Protocol, uint16_t>> service,
                             absl::FunctionRef<void(ConntrackEntry)> visit);

  NetlinkSocket netlink_;
};

// Reads one entry; empty when it is of another protocol, or cut off.
std::optional<ConntrackEntry> ParseConntrackEntry(const nlmsghdr& message);

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_CONNTRACK_H_
