// A clock that moves only when the test says so.

#ifndef POSTERN_TESTS_FAKES_FAKE_CLOCK_H_
#define POSTERN_TESTS_FAKES_FAKE_CLOCK_H_

#include <mutex>
#include <string>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace postern {

// Safe from any thread. Starts 1,000 seconds after boot, at noon UTC on
// 1 March 2026.
class FakeClock final : public Clock {
 public:
  Now Read() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  std::string BootId() const override {
    const std::lock_guard lock(mutex_);
    return boot_id_;
  }

  bool IsSynchronised() const override {
    const std::lock_guard lock(mutex_);
    return synchronised_;
  }

  // Time passes, on both clocks.
  void Advance(absl::Duration by) {
    const std::lock_guard lock(mutex_);
    now_.boot = now_.boot + by;
    now_.wall += by;
  }

  // Somebody sets the wall clock.
  void StepWall(absl::Duration by) {
    const std::lock_guard lock(mutex_);
    now_.wall += by;
  }

  // The machine sleeps and wakes up.
  void Sleep(absl::Duration by) {
    const std::lock_guard lock(mutex_);
    now_.boot = now_.boot + by;
    now_.wall += by;
    now_.slept += by;
  }

  // Another boot, at this wall time; the clock that does not step begins anew.
  void Reboot(absl::Time wall) {
    const std::lock_guard lock(mutex_);
    now_ = {.boot = BootTime(absl::Seconds(5)), .wall = wall};
    boot_id_ += "'";
  }

  void SetSynchronised(bool synchronised) {
    const std::lock_guard lock(mutex_);
    synchronised_ = synchronised;
  }

 private:
  mutable std::mutex mutex_;
  Now now_ = {
      .boot = BootTime(absl::Seconds(1000)),
      .wall = absl::FromCivil(absl::CivilSecond(2026, 3, 1, 12, 0, 0), absl::UTCTimeZone())};
  std::string boot_id_ = "boot";
  bool synchronised_ = true;
};

}  // namespace postern

#endif  // POSTERN_TESTS_FAKES_FAKE_CLOCK_H_
