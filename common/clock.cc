#include "common/clock.h"

#include <systemd/sd-id128.h>

#include <ctime>

#include "absl/time/clock.h"

namespace postern {

Now SystemClock::Read() const {
  timespec boot{};
  clock_gettime(CLOCK_BOOTTIME, &boot);
  return Now{.boot = BootTime(absl::DurationFromTimespec(boot)), .wall = absl::Now()};
}

std::string BootId() {
  sd_id128_t id{};
  char text[SD_ID128_STRING_MAX];
  if (sd_id128_get_boot(&id) < 0) return "";
  return sd_id128_to_string(id, text);
}

}  // namespace postern
