// Time as Postern sees it: CLOCK_BOOTTIME for everything that must not be
// moved by a wall-clock step, wall time only where a person or another machine
// reads or writes it.

#ifndef POSTERN_COMMON_CLOCK_H_
#define POSTERN_COMMON_CLOCK_H_

#include <compare>
#include <string>

#include "absl/time/time.h"

namespace postern {

// A point on CLOCK_BOOTTIME: it counts suspend, starts at boot and never steps
// (clock_gettime(2)). Only meaningful within one boot.
class BootTime {
 public:
  constexpr BootTime() = default;
  constexpr explicit BootTime(absl::Duration since_boot) : since_boot_(since_boot) {}

  constexpr absl::Duration since_boot() const { return since_boot_; }

  friend BootTime operator+(BootTime t, absl::Duration d) { return BootTime(t.since_boot_ + d); }
  friend BootTime operator-(BootTime t, absl::Duration d) { return BootTime(t.since_boot_ - d); }
  friend absl::Duration operator-(BootTime a, BootTime b) { return a.since_boot_ - b.since_boot_; }
  friend constexpr bool operator==(BootTime a, BootTime b) = default;
  friend constexpr bool operator<(BootTime a, BootTime b) { return a.since_boot_ < b.since_boot_; }
  friend constexpr bool operator>(BootTime a, BootTime b) { return b < a; }
  friend constexpr bool operator<=(BootTime a, BootTime b) { return !(b < a); }
  friend constexpr bool operator>=(BootTime a, BootTime b) { return !(a < b); }

 private:
  absl::Duration since_boot_;
};

// Both clocks, read together.
struct Now {
  BootTime boot;
  absl::Time wall;
  // How long the machine has slept since it booted: what CLOCK_BOOTTIME is ahead
  // of CLOCK_MONOTONIC, by which the kernel's timeouts run.
  absl::Duration slept = absl::ZeroDuration();
};

// The only door to the clocks. Implementations are safe to call from any
// thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Now Read() const = 0;

  // Identifies this boot of this machine; a BootTime of another boot means
  // nothing. Empty where the kernel does not tell.
  virtual std::string BootId() const = 0;

  // Whether the wall clock is held to be synchronised with a reference. False where
  // nobody can be asked: the kernel (adjtimex(2): not STA_UNSYNC) not under
  // systemd's ProtectClock=.
  virtual bool IsSynchronised() const = 0;
};

// The machine's own clocks.
class SystemClock final : public Clock {
 public:
  Now Read() const override;
  std::string BootId() const override;
  bool IsSynchronised() const override;
};

}  // namespace postern

#endif  // POSTERN_COMMON_CLOCK_H_
