#include "common/clock.h"

#include <sys/timex.h>
#include <systemd/sd-id128.h>

#include <ctime>

#include "absl/time/clock.h"

namespace postern {

Now SystemClock::Read() const {
  timespec boot{};
  timespec monotonic{};
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  clock_gettime(CLOCK_BOOTTIME, &boot);
  const absl::Duration since_boot = absl::DurationFromTimespec(boot);
  return Now{.boot = BootTime(since_boot),
             .wall = absl::Now(),
             .slept = since_boot - absl::DurationFromTimespec(monotonic)};
}

bool SystemClock::IsSynchronised() const {
  timex state{};
  return adjtimex(&state) != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

std::string SystemClock::BootId() const {
  sd_id128_t id{};
  char text[SD_ID128_STRING_MAX];
  if (sd_id128_get_boot(&id) < 0) return "";
  return sd_id128_to_string(id, text);
}

}  // namespace postern
