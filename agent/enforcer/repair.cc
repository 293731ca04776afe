// The table under hands that are not ours.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/changes.h"
#include "agent/enforcer/gatekeeper.h"
#include "common/status.h"

namespace postern {

void Gatekeeper::OnTableChanged(const TableChange& change) {
  if (change.what.empty()) {
    // Only that something was lost is known. What is ours alone nobody changed.
    const absl::StatusOr<bool> owned = with_.firewall.OwnsTable();
    if (owned.ok() && *owned) return;
  }
  repairs_.Notice(change);
  RepairDue(with_.clock.Read());
}

void Gatekeeper::RepairDue(const Now& now) {
  if (repairs_.IsRepairDue(now.boot)) Repair();
  RecordRepairs(repairs_.LineDue(now.boot));
}

// Making the table anew is the comparison: one batch, which takes less time than
// reading everything back, and leaves nothing that was missed.
void Gatekeeper::Repair() {
  // Reading more would leave the gate open for longer than the repair takes.
  Resync(programmer_.element_count() <= kMostElementsRead ? UsageBefore::kRead
                                                          : UsageBefore::kKnown);
  if (resync_wanted_) repairs_.TakeFailure(with_.clock.Read().boot);
}

void Gatekeeper::RecordRepairs(const std::optional<std::string>& line) {
  if (!line) return;
  const absl::Status status = RecordAgentEvent(AuditKind::kFirewallRepaired, kAgentActor, *line);
  const BootTime now = with_.clock.Read().boot;
  if (status.ok()) {
    repairs_.TakeRecorded(now);
  } else {
    repairs_.TakeUnrecorded(now);
    Report(status, absl::StrCat("recording a repair of the firewall's table (", *line, ")"));
  }
}

bool Gatekeeper::RestoredLostTable() {
  const absl::StatusOr<bool> standing = with_.firewall.HasTable();
  if (!standing.ok() || *standing) return false;
  Resync();
  return !resync_wanted_;
}

bool Gatekeeper::IsTableInDoubt() const { return resync_wanted_ || repairs_.is_pending(); }

absl::StatusOr<Counter> Gatekeeper::ReadDropped() {
  const absl::StatusOr<Counter> counter = with_.firewall.ReadCounter(kDroppedCounter);
  if (counter.ok()) dropped_seen_ = *counter;
  if (!counter.ok() && !absl::IsNotFound(counter.status())) return counter.status();
  return dropped_seen_;
}

std::vector<Grant> Gatekeeper::CountedGrants(const Now& now, UsageBefore usage) {
  std::vector<Grant> counted;
  for (const auto& [id, grant] : ledger_.grants()) counted.push_back(grant);
  absl::Status read = absl::OkStatus();
  if (usage == UsageBefore::kRead) {
    std::vector<Grant*> pointers;
    for (Grant& grant : counted) pointers.push_back(&grant);
    // The right table without its counts is better than the wrong one.
    read = usage_.Read(now, pointers);
    Report(read, "reading the usage of grants before their table goes");
  }
  if (usage == UsageBefore::kKnown || !read.ok()) {
    for (Grant& grant : counted) grant.usage = usage_.LastReading(grant);
  }
  return counted;
}

}  // namespace postern
