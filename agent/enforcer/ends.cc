// The gatekeeper's part in ends: what the kernel closes by itself is counted,
// recorded and announced here.

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <utility>

#include "agent/enforcer/changes.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/decide.h"
#include "common/status.h"

namespace postern {
namespace {

// How long before a grant's end its usage is read: the kernel forgets an
// element's counter at the end itself.
constexpr absl::Duration kUsageLead = absl::Milliseconds(20);
// How often the usage of live grants is read. The wall time is recorded as often.
constexpr absl::Duration kUsageInterval = absl::Seconds(60);
// A step of the wall clock that the kernel did not tell of; smaller ones add up.
constexpr absl::Duration kMissedStep = absl::Seconds(1);
// How long the mark of a grant whose sessions are ended waits for another
// transaction to go with. What is let in meanwhile is recorded first, and that
// takes the mark away.
constexpr absl::Duration kMarksKept = absl::Seconds(1);
// How many ends are recorded before whoever waits has their turn.
constexpr size_t kMostEndsAtOnce = 5'000;
constexpr BootTime kEver(-absl::InfiniteDuration());

}  // namespace

std::optional<BootTime> Gatekeeper::NextAlarm() const {
  std::optional<BootTime> alarm;
  const auto at_latest = [&alarm](const std::optional<BootTime>& time) {
    if (time) alarm = std::min(alarm.value_or(*time), *time);
  };
  at_latest(retry_at_);
  if (!resync_wanted_) at_latest(programmer_.NextPrune());
  at_latest(repairs_.NextAlarm());
  if (!resync_wanted_) at_latest(NextLookAtOlder());
  if (!marked_.empty()) at_latest(clear_marks_at_);
  if (!withheld_.empty()) at_latest(withheld_check_at_);
  if (standing_.armed && standing_.armed->confirm_by) {
    at_latest(standing_.armed->confirm_by->deadline);
  }
  if (const Grant* next = ledger_.EndingFirst()) {
    at_latest(next->deadline);
    if (const std::optional<BootTime> unread = ledger_.NextDeadlineAfter(usage_read_until_)) {
      at_latest(*unread - kUsageLead);
    }
    at_latest(usage_read_at_ + kUsageInterval);
  }
  return alarm;
}

void Gatekeeper::OnAlarm() {
  const Now now = with_.clock.Read();
  CompareClocks(now, kMissedStep);
  RetryDue(now);
  DisarmIfDue(now);
  RestoreWithheld(now);
  ReadUsageDue(now);
  ExpireDue(now, {});
  PruneSets(now);
  RecordTimeDue(now);
  ClearMarksDue(now);
  PruneOlderDue(now);
}

void Gatekeeper::PruneSets(const Now& now) {
  // The table that is wanted has no such sets.
  if (resync_wanted_) return;
  if (absl::Status status = programmer_.Prune(now.boot); !status.ok()) {
    Report(status, "removing sets that are used no more");
    Resync();
  }
}

void Gatekeeper::RecordTimeDue(const Now& now) {
  if (ledger_.size() == 0 || now.boot < recorded_at_ + kUsageInterval) return;
  std::vector<Write> writes(1);
  writes.front().seen = now.wall;
  Report(Commit(writes), "recording the time");
  AnnounceRecorded();
}

void Gatekeeper::ReadUsageDue(const Now& now) {
  const BootTime horizon = now.boot + kUsageLead;
  ReadUsage(ledger_.EndingBetween(usage_read_until_, horizon), now);
  usage_read_until_ = std::max(usage_read_until_, horizon);
  if (now.boot < usage_read_at_ + kUsageInterval) return;
  usage_read_at_ = now.boot;
  if (programmer_.element_count() > kMostElementsRead) return;
  std::vector<std::string> all;
  for (const auto& [id, grant] : ledger_.grants()) all.push_back(id);
  ReadUsage(all, now);
}

void Gatekeeper::ReadUsage(const std::vector<std::string>& ids, const Now& now) {
  std::vector<Grant> read;
  for (const std::string& id : ids) read.push_back(*ledger_.Find(id));
  std::vector<Grant*> pointers;
  for (Grant& grant : read) pointers.push_back(&grant);
  Report(usage_.Read(now, pointers), "reading the usage of grants");
}

// By a wall clock that was set ahead, an end may lie before the boot.
void Gatekeeper::CloseDue(const Now& now) {
  std::vector<AccessKey> keys;
  for (const std::string& id : ledger_.EndingBetween(closed_until_, now.boot)) {
    AppendKeys(*ledger_.Find(id), keys);
  }
  closed_until_ = std::max(closed_until_, now.boot);
  // A rebuild leaves them out.
  if (keys.empty() || resync_wanted_) return;
  if (absl::Status status = programmer_.Apply(keys, now.boot); !status.ok()) {
    Report(status, "removing what has ended");
    Resync();
  }
}

std::vector<std::string> Gatekeeper::DueOf(const std::vector<std::string>& named,
                                           const Now& now) const {
  std::vector<std::string> due = ledger_.EndingBetween(kEver, now.boot, kMostEndsAtOnce);
  if (due.size() < kMostEndsAtOnce) return due;
  const std::set<std::string> first(due.begin(), due.end());
  for (const std::string& id : std::set<std::string>(named.begin(), named.end())) {
    const Grant* grant = ledger_.Find(id);
    if (grant != nullptr && grant->deadline <= now.boot && !first.contains(id)) due.push_back(id);
  }
  return due;
}

bool Gatekeeper::ExpireDue(const Now& now, const std::vector<std::string>& named) {
  CloseDue(now);
  std::vector<Change> changes;
  for (const std::string& id : DueOf(named, now)) {
    const Grant* before = ledger_.Find(id);
    Change change{.before = *before, .after = Expired(*before), .event = {}, .command = {}};
    change.after.usage = usage_.LastReading(*before);
    change.event = EventOf(AuditKind::kGrantExpired, change.after, kAgentActor, now.wall);
    change.after.sessions_pending = before->on_expiry == OnExpiry::kReset;
    PutInLedger(change);
    changes.push_back(std::move(change));
  }
  if (changes.empty()) return false;
  const absl::Status recorded = Record(changes);
  if (!recorded.ok()) {
    for (const Change& change : changes) {
      KeepUnrecorded(WriteOf(change.after, change.event), recorded, now);
    }
  }
  for (const Change& change : changes) usage_.Forget(change.after.id);
  EndSessionsOf(changes);
  AnnounceRecorded();
  return changes.size() >= kMostEndsAtOnce;
}

size_t Gatekeeper::LiveAt(const Now& now) const {
  if (ledger_.size() < options_.limits.max_live_grants) return ledger_.size();
  return ledger_.size() - ledger_.EndingBetween(kEver, now.boot).size();
}

void Gatekeeper::EndSessionsOf(const std::vector<Change>& changes) {
  std::vector<Grant> ended;
  for (const Change& change : changes) {
    if (change.after.sessions_pending) ended.push_back(change.after);
  }
  EndSessions(ended);
}

void Gatekeeper::EndSessions(const std::vector<Grant>& ended) {
  if (ended.empty()) return;
  const Now now = with_.clock.Read();
  if (options_.gate.enforce) {
    // What has the addresses and ports of one now is not spared.
    PruneOlder(now);
    const std::vector<Flow> older = FlowsOf(older_);
    std::vector<EndedGrant> admitted;
    for (const Grant& grant : ended) {
      admitted.push_back({.keys = SessionKeysOf(grant), .admission = AdmissionOf(grant.on_expiry)});
    }
    const absl::StatusOr<EndReport> report =
        with_.sessions.End(admitted,
                           [&](const Address& remote, Protocol protocol, uint16_t port) {
                             for (const Prefix& prefix : options_.gate.always_allow) {
                               if (prefix.Contains(remote)) return Coverage::kKeep;
                             }
                             return ledger_.CoverageOf(remote, protocol, port, now.boot);
                           },
                           {older.begin(), older.end()});
    if (absl::IsUnimplemented(report.status())) {
      // Nothing would come of another try.
      if (sockets_stay_.empty()) Report(report.status(), "ending the sessions of an ended grant");
      sockets_stay_ = std::string(report.status().message());
    } else if (!report.ok()) {
      Report(report.status(), "ending the sessions of an ended grant; it is tried again");
      owed_.insert(owed_.end(), ended.begin(), ended.end());
      retry_at_ = now.boot + kRetryAfter;
      return;
    }
  }
  // Nobody who asked waits for the disk again.
  if (marked_.empty()) clear_marks_at_ = now.boot + kMarksKept;
  for (const Grant& grant : ended) marked_.push_back(grant.id);
}

void Gatekeeper::ClearMarksDue(const Now& now) {
  if (marked_.empty() || now.boot < clear_marks_at_) return;
  clear_marks_at_ = now.boot + kMarksKept;
  std::vector<Write> nothing_new;
  const absl::Status status = Commit(nothing_new);
  // Told once: a full disk stays full for a while.
  if (!clearing_failed_) Report(status, "recording that sessions have been ended");
  clearing_failed_ = !status.ok();
  AnnounceRecorded();
}

}  // namespace postern
