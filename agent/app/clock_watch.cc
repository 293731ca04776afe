#include "agent/app/clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <limits>
#include <utility>

#include "common/status.h"

namespace postern {

absl::StatusOr<ClockWatch> ClockWatch::Open() {
  Fd timer(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (timer.get() < 0) return ErrnoStatus(errno, "timerfd_create");
  ClockWatch watch(std::move(timer));
  POSTERN_RETURN_IF_ERROR(watch.Rearm());
  return watch;
}

absl::Status ClockWatch::Rearm() {
  uint64_t expirations = 0;
  // ECANCELED is the news; the timer itself never runs out.
  [[maybe_unused]] const ssize_t got = read(timer_.get(), &expirations, sizeof expirations);
  itimerspec never{};
  never.it_value.tv_sec = std::numeric_limits<time_t>::max();
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) <
      0) {
    return ErrnoStatus(errno, "timerfd_settime");
  }
  return absl::OkStatus();
}

}  // namespace postern
