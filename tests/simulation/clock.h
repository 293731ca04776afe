// The simulated machine's clocks.

#ifndef POSTERN_TESTS_SIMULATION_CLOCK_H_
#define POSTERN_TESTS_SIMULATION_CLOCK_H_

#include <string>

#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace postern::simulation {

// The kernel's tick: 250 a second.
inline constexpr absl::Duration kTick = absl::Milliseconds(4);
// How long after its end access may last: two ticks.
inline constexpr absl::Duration kMostLate = absl::Milliseconds(8);

// Moves only when it is told to. One thread.
class SimulatedClock final : public Clock {
 public:
  Now Read() const override { return now_; }
  std::string BootId() const override { return absl::StrFormat("%032d", boots_); }
  bool IsSynchronised() const override { return synchronised_; }

  void Advance(absl::Duration by) {
    now_.boot = now_.boot + by;
    now_.wall += by;
  }
  // The machine sleeps: what the kernel counts in ticks stands still.
  void Suspend(absl::Duration by) {
    Advance(by);
    now_.slept += by;
  }
  void StepWall(absl::Duration by) { now_.wall += by; }
  void Synchronise(bool synchronised) { synchronised_ = synchronised; }
  // By the wall clock, the machine was off for `down`.
  void Reboot(absl::Duration down) {
    now_ = {.boot = BootTime(absl::Seconds(5)), .wall = now_.wall + down};
    ++boots_;
  }

  absl::Duration suspended() const { return now_.slept; }

 private:
  Now now_ = {
      .boot = BootTime(absl::Seconds(1000)),
      .wall = absl::FromCivil(absl::CivilSecond(2026, 3, 1, 12, 0, 0), absl::UTCTimeZone())};
  int boots_ = 1;
  bool synchronised_ = true;
};

// What the kernel's timeouts run on: a SimulatedClock without the time that
// the machine slept.
class TickClock final : public Clock {
 public:
  explicit TickClock(const SimulatedClock& clock) : clock_(clock) {}
  Now Read() const override {
    const Now now = clock_.Read();
    return {.boot = now.boot - clock_.suspended(), .wall = now.wall};
  }
  std::string BootId() const override { return clock_.BootId(); }
  bool IsSynchronised() const override { return clock_.IsSynchronised(); }

 private:
  const SimulatedClock& clock_;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_CLOCK_H_
