#include "agent/enforcer/repair_log.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/changes.h"

namespace postern {
namespace {

// So many repairs without a calm time between them are made at once, each.
constexpr int kBurst = 20;
constexpr absl::Duration kCalm = absl::Seconds(1);
constexpr absl::Duration kShortestPause = absl::Milliseconds(10);

constexpr absl::Duration kShortestInterval = absl::Seconds(1);
constexpr absl::Duration kLongestInterval = absl::Minutes(1);

}  // namespace

void RepairLog::Notice(const TableChange& change) {
  if (pending_) {
    pending_->Merge(change);
  } else {
    pending_ = change;
  }
}

void RepairLog::TakeRepair(BootTime begun, const Now& done) {
  const absl::Duration took = done.boot - pending_->noticed;
  ++repairs_.count;
  repairs_.last = done.wall;
  repairs_.last_took = took;
  repairs_.longest_took = std::max(repairs_.longest_took, took);
  repairs_.last_detail = pending_->ToString();
  pending_.reset();

  in_a_row_ = in_a_row_ > 0 && done.boot < repaired_at_ + kCalm ? in_a_row_ + 1 : 1;
  repaired_at_ = done.boot;
  repair_at_ =
      in_a_row_ < kBurst ? BootTime() : done.boot + std::max(kShortestPause, done.boot - begun);
  ++unrecorded_;
  detail_ = absl::StrCat(repairs_.last_detail, "; repaired within ",
                         absl::FormatDuration(absl::Ceil(took, absl::Microseconds(1))));
}

void RepairLog::TakeFailure(BootTime now) { repair_at_ = now + kRetryAfter; }

std::optional<std::string> RepairLog::LineDue(BootTime now) const {
  return now < line_at_ ? std::nullopt : Line();
}

std::optional<std::string> RepairLog::Line() const {
  if (unrecorded_ == 0) return std::nullopt;
  if (unrecorded_ == 1) return detail_;
  return absl::StrCat(unrecorded_, " times, the last: ", detail_);
}

void RepairLog::TakeRecorded(BootTime now) {
  unrecorded_ = 0;
  const bool calm = now > line_at_ + interval_;
  interval_ = calm ? kShortestInterval : std::min(2 * interval_, kLongestInterval);
  interval_ = std::max(interval_, kShortestInterval);
  line_at_ = now + interval_;
}

void RepairLog::TakeUnrecorded(BootTime now) { line_at_ = now + kRetryAfter; }

std::optional<BootTime> RepairLog::NextAlarm() const {
  std::optional<BootTime> alarm;
  if (pending_) alarm = repair_at_;
  if (unrecorded_ > 0) alarm = std::min(alarm.value_or(line_at_), line_at_);
  return alarm;
}

}  // namespace postern
