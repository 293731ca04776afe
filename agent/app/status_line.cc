#include "agent/app/status_line.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace postern {
namespace {

std::string TimeText(absl::Time time, absl::Time now) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const bool today = absl::ToCivilDay(time, utc) == absl::ToCivilDay(now, utc);
  return absl::FormatTime(today ? "%H:%M:%SZ" : "%Y-%m-%d %H:%M:%SZ", time, utc);
}

std::string HowMany(size_t count, absl::string_view one) {
  if (count == 0) return absl::StrCat("no ", one, "s");
  return absl::StrCat(count, " ", one, count == 1 ? "" : "s");
}

std::string GateText(const GateStatus& status, size_t ports) {
  std::string text =
      absl::StrCat(status.enforced ? "enforcing " : "observing ", HowMany(ports, "port"));
  if (!status.enforced) absl::StrAppend(&text, ", nothing is dropped");
  if (status.standing.lockdown) absl::StrAppend(&text, ", LOCKED DOWN");
  const std::optional<Armed>& armed = status.standing.armed;
  if (armed && armed->confirm_by) {
    absl::StrAppend(&text, ", armed until ", TimeText(armed->confirm_by->wall, status.now),
                    " unless confirmed");
  }
  return text;
}

}  // namespace

std::string StatusLine(const GateStatus& status, size_t ports, bool ledger_replaced,
                       absl::string_view controller) {
  std::string line =
      absl::StrCat(GateText(status, ports), "; ", HowMany(status.live_grants, "grant"), " live");
  if (status.next_end) {
    absl::StrAppend(&line, ", next ends ", TimeText(*status.next_end, status.now));
  }
  if (status.always_allowed > 0) {
    absl::StrAppend(&line, "; ", HowMany(status.always_allowed, "source"), " always allowed");
  }
  absl::StrAppend(&line, "; drift repaired ", status.repairs.count);
  if (!controller.empty()) absl::StrAppend(&line, "; controller ", controller);
  if (status.withheld_grants > 0) {
    absl::StrAppend(&line, "; ", HowMany(status.withheld_grants, "grant"),
                    " withheld: ", status.withheld_reason);
  }
  if (ledger_replaced) {
    absl::StrAppend(&line, "; ledger replaced, the damaged one is kept aside");
  }
  for (const std::string& warning : status.warnings) absl::StrAppend(&line, "; ", warning);
  return line;
}

}  // namespace postern
