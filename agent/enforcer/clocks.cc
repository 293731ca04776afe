// Ends under clocks that step, sleep or cannot be trusted.

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/changes.h"
#include "agent/enforcer/gatekeeper.h"
#include "common/duration.h"
#include "common/status.h"

namespace postern {
namespace {

// Shorter than a kernel tick, and longer than the time between two readings.
constexpr absl::Duration kSmallestStep = absl::Milliseconds(1);
// What is worth a line in the audit.
constexpr absl::Duration kNotableStep = absl::Seconds(1);

std::string Signed(absl::Duration step) {
  return absl::StrCat(
      step < absl::ZeroDuration() ? "back by " : "ahead by ",
      absl::FormatDuration(absl::Trunc(absl::AbsDuration(step), absl::Milliseconds(1))));
}

}  // namespace

void Gatekeeper::OnClockChanged() {
  const Now now = with_.clock.Read();
  CompareClocks(now, kSmallestStep);
  RestoreWithheld(now);
  ExpireDue(now, {});
}

void Gatekeeper::CompareClocks(const Now& now, absl::Duration least) {
  const absl::Duration step = (now.wall - compared_at_.wall) - (now.boot - compared_at_.boot);
  const absl::Duration slept = now.slept - compared_at_.slept;
  const bool stepped = absl::AbsDuration(step) >= least;
  const bool woke = slept >= kSmallestStep;
  if (!stepped && !woke) return;
  std::string what;
  if (woke)
    what =
        absl::StrCat("the machine slept for ", DurationText(absl::Ceil(slept, absl::Seconds(1))));
  if (stepped) absl::StrAppend(&what, woke ? ", " : "", "the wall clock went ", Signed(step));
  const size_t shortened = ShortenToWallEnds(now);
  if (woke && options_.gate.enforce_until) {
    // Not only of elements.
    Resync();
  } else if (woke) {
    if (absl::Status status = programmer_.Retime(now.boot); !status.ok()) {
      Report(status, "telling the kernel the ends again after a sleep");
      Resync();
    }
  }
  if (!woke && absl::AbsDuration(step) < kNotableStep && shortened == 0) return;
  compared_at_.slept = now.slept;
  if (stepped) {
    compared_at_.wall = now.wall;
    compared_at_.boot = now.boot;
  }
  Report(RecordAgentEvent(AuditKind::kClockChanged, kAgentActor,
                          absl::StrCat(what, "; ", shortened, " grants end sooner")),
         "recording that the clock changed");
}

size_t Gatekeeper::ShortenToWallEnds(const Now& now) {
  std::vector<Write> writes;
  std::vector<AccessKey> keys;
  for (const auto& [id, grant] : ledger_.grants()) {
    const BootTime by_wall = now.boot + (grant.end - now.wall);
    if (by_wall + kSmallestStep > grant.deadline) continue;
    Write write;
    write.put = grant;
    write.put->deadline = by_wall;
    writes.push_back(std::move(write));
    AppendKeys(grant, keys);
  }
  if (writes.empty()) return 0;
  for (const Write& write : writes) ledger_.Put(*write.put);
  // The kernel first: what ends sooner must not wait for a disk. A start reads
  // the wall clock again, so nothing is lost where this cannot be recorded.
  if (absl::Status status = programmer_.Apply(keys, now.boot); !status.ok()) {
    Report(status, "ending grants sooner");
    Resync();
  }
  const size_t shortened = writes.size();
  Report(Commit(writes), "recording that grants end sooner");
  return shortened;
}

std::string Gatekeeper::WhyClockIsNotTrusted(const Now& now) const {
  if (!last_seen_ || now.wall >= *last_seen_ || with_.clock.IsSynchronised()) return "";
  return absl::StrCat("the wall clock says ", absl::FormatTime(now.wall, absl::UTCTimeZone()),
                      ", which is before ", absl::FormatTime(*last_seen_, absl::UTCTimeZone()),
                      ", when the ledger was last written, and it is not synchronised; set it, or "
                      "let it synchronise");
}

bool Gatekeeper::IsWithheld(absl::string_view id) const {
  for (const Grant& grant : withheld_) {
    if (grant.id == id) return true;
  }
  return false;
}

void Gatekeeper::RestoreWithheld(const Now& now) {
  if (withheld_.empty()) return;
  withheld_check_at_ = now.boot + kTrustInterval;
  const std::string reason_before = std::exchange(withheld_reason_, WhyClockIsNotTrusted(now));
  if (!withheld_reason_.empty()) return;
  const std::vector<Grant> waiting = std::exchange(withheld_, {});
  std::vector<Write> writes;
  std::vector<Grant> ended;
  absl::Status status = RestoreGrants(waiting, now, writes, ended);
  size_t restored = 0;
  std::vector<AccessKey> keys;
  for (const Grant& grant : waiting) {
    if (ledger_.Find(grant.id) == nullptr) continue;
    ++restored;
    AppendKeys(grant, keys);
  }
  if (status.ok()) {
    status = RecordAgentEvent(
        AuditKind::kGrantsRestored, kAgentActor,
        absl::StrCat(restored, " of ", waiting.size(), " that waited for the clock have time left"),
        std::move(writes));
  }
  if (!status.ok()) {
    for (const Grant& grant : waiting) ledger_.Remove(grant.id);
    withheld_ = waiting;
    withheld_reason_ = WhyNotRestored(status);
    // Told once: a full disk stays full for a while.
    if (withheld_reason_ == reason_before) return;
    return Report(status, "restoring the grants of before the reboot");
  }
  if (absl::Status applied = programmer_.Apply(keys, now.boot); !applied.ok()) {
    Report(applied, "opening the restored grants");
    Resync();
  }
  EndSessions(ended);
}

}  // namespace postern
