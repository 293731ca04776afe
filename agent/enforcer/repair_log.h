// When the table is repaired, and when that is recorded.

#ifndef POSTERN_AGENT_ENFORCER_REPAIR_LOG_H_
#define POSTERN_AGENT_ENFORCER_REPAIR_LOG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "agent/firewall/table_change.h"
#include "common/clock.h"

namespace postern {

// What others did to the table, and the agent undid, since it started.
struct GateRepairs {
  uint64_t count = 0;
  std::optional<absl::Time> last;
  // From the kernel's notification to its acknowledgement of the repair.
  absl::Duration last_took;
  absl::Duration longest_took;
  std::string last_detail;
};

// The changes that wait for repair, and the repairs that wait for their line in
// the audit. Repairs come at once, unless somebody undoes them again and again:
// then each waits at least as long as the one before it took, so that the fight
// costs at most half a core. Lines come once a second at first and once a minute
// in a long fight, with how many repairs each stands for. Pure.
class RepairLog {
 public:
  void Notice(const TableChange& change);
  // There is a change that no repair has undone.
  bool is_pending() const { return pending_.has_value(); }
  bool IsRepairDue(BootTime now) const { return pending_ && now >= repair_at_; }
  // The pending change was undone by work that began at `begun`.
  void TakeRepair(BootTime begun, const Now& done);
  void TakeFailure(BootTime now);

  // What to record now; empty when nothing is due.
  std::optional<std::string> LineDue(BootTime now) const;
  // What waits to be recorded, due or not.
  std::optional<std::string> Line() const;
  void TakeRecorded(BootTime now);
  void TakeUnrecorded(BootTime now);

  // When something is due next; empty when nothing will be.
  std::optional<BootTime> NextAlarm() const;
  const GateRepairs& repairs() const { return repairs_; }

 private:
  GateRepairs repairs_;
  std::optional<TableChange> pending_;
  BootTime repair_at_;
  BootTime repaired_at_;
  // Repairs that followed one another without a calm second.
  int in_a_row_ = 0;

  // Repairs since the last line, and the last of them.
  uint64_t unrecorded_ = 0;
  std::string detail_;
  BootTime line_at_;
  absl::Duration interval_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_REPAIR_LOG_H_
