// The gatekeeper's part in ends: what the kernel closes by itself is counted,
// recorded and announced here.

#include <algorithm>
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
// How often the usage of live grants is read, and up to how many elements: a
// dump of so many takes milliseconds.
constexpr absl::Duration kUsageInterval = absl::Seconds(60);
constexpr size_t kMostElementsRead = 10'000;

}  // namespace

std::optional<BootTime> Gatekeeper::NextAlarm() const {
  if (resync_wanted_) return retry_at_;
  const Grant* next = ledger_.EndingFirst();
  if (next == nullptr) return std::nullopt;
  if (retry_at_) return std::max(next->deadline, *retry_at_);
  BootTime alarm = next->deadline;
  if (const std::optional<BootTime> unread = ledger_.NextDeadlineAfter(usage_read_until_)) {
    alarm = std::min(alarm, *unread - kUsageLead);
  }
  if (programmer_.element_count() <= kMostElementsRead) {
    alarm = std::min(alarm, usage_read_at_ + kUsageInterval);
  }
  return alarm;
}

void Gatekeeper::OnAlarm() {
  const Now now = with_.clock.Read();
  ReadUsageDue(now);
  ExpireDue(now);
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

void Gatekeeper::ExpireDue(const Now& now) {
  if (retry_at_ && now.boot < *retry_at_) return;
  retry_at_.reset();
  if (resync_wanted_) Resync();
  std::vector<Change> changes;
  for (const std::string& id : ledger_.EndingBetween(BootTime(), now.boot)) {
    const Grant* before = ledger_.Find(id);
    Change change{.before = *before, .after = Expired(*before), .event = {}, .reply = {}};
    change.after.usage = usage_.LastReading(*before);
    change.event = EventOf(AuditKind::kGrantExpired, change.after, kAgentActor, now.wall);
    change.end_sessions = before->on_expiry == OnExpiry::kReset;
    PutInLedger(change);
    changes.push_back(std::move(change));
  }
  if (changes.empty()) return;
  if (absl::Status status = Record(changes); !status.ok()) {
    for (const Change& change : changes) PutBackInLedger(change);
    retry_at_ = now.boot + kRetryAfter;
    Report(status, "recording the end of grants (the kernel has closed them)");
    return;
  }
  std::vector<AccessKey> keys;
  for (const Change& change : changes) {
    AppendKeys(change.after, keys);
    usage_.Forget(change.after.id);
  }
  if (absl::Status status = programmer_.Apply(keys, now.boot); !status.ok()) {
    Report(status, "clearing sets that are used no more");
    Resync();
  }
  EndSessionsOf(changes);
  for (const Change& change : changes) with_.announce(change.event);
}

}  // namespace postern
