// Learns when the wall clock is set and when the machine wakes from sleep.

#ifndef POSTERN_AGENT_APP_CLOCK_WATCH_H_
#define POSTERN_AGENT_APP_CLOCK_WATCH_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/fd.h"

namespace postern {

// A timer on CLOCK_REALTIME that the kernel cancels when that clock jumps, also
// on resume (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). One thread.
class ClockWatch {
 public:
  static absl::StatusOr<ClockWatch> Open();

  // Readable once the clock has jumped.
  int fd() const { return timer_.get(); }
  // Takes the news and watches on. Done before the clocks are read, so that a
  // jump in between is told again.
  absl::Status Rearm();

 private:
  explicit ClockWatch(Fd timer) : timer_(std::move(timer)) {}

  Fd timer_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_APP_CLOCK_WATCH_H_
