#include "common/clock.h"

#include <sys/timex.h>
#include <systemd/sd-id128.h>

#include <ctime>

#include "absl/time/time.h"

namespace postern {
namespace {

absl::Duration ReadClock(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return absl::DurationFromTimespec(time);
}

}  // namespace

Now SystemClock::Read() const {
  // A reading that was interrupted would look like a clock that jumped.
  constexpr absl::Duration kTogether = absl::Microseconds(100);
  constexpr int kMostTries = 10;
  Now now;
  for (int i = 0; i < kMostTries; ++i) {
    const absl::Duration before = ReadClock(CLOCK_MONOTONIC);
    const absl::Duration boot = ReadClock(CLOCK_BOOTTIME);
    const absl::Duration wall = ReadClock(CLOCK_REALTIME);
    now = {.boot = BootTime(boot), .wall = absl::UnixEpoch() + wall, .slept = boot - before};
    if (ReadClock(CLOCK_MONOTONIC) - before < kTogether) break;
  }
  return now;
}

bool SystemClock::IsSynchronised() const {
  timex state{};
  const int answer = adjtimex(&state);
  return answer >= 0 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

std::string SystemClock::BootId() const {
  sd_id128_t id{};
  char text[SD_ID128_STRING_MAX];
  if (sd_id128_get_boot(&id) < 0) return "";
  return sd_id128_to_string(id, text);
}

}  // namespace postern
