#include "agent/firewall/nft/timeout.h"

#include <cmath>
#include <ctime>

#include "absl/time/time.h"

namespace postern::nft {
namespace {

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr int64_t kMillisecondsPerSecond = 1'000;

int64_t DivideUp(int64_t dividend, int64_t divisor) { return (dividend + divisor - 1) / divisor; }

absl::Duration ReadClock(clockid_t id) {
  timespec time = {};
  clock_gettime(id, &time);
  return absl::DurationFromTimespec(time);
}

// The coarse clocks advance once a tick, and their resolution is its length.
int64_t ReadTicksPerSecond() {
  timespec resolution = {};
  clock_getres(CLOCK_MONOTONIC_COARSE, &resolution);
  const int64_t length = absl::ToInt64Nanoseconds(absl::DurationFromTimespec(resolution));
  return (kNanosecondsPerSecond + length / 2) / length;
}

}  // namespace

TimeoutClock ReadTimeoutClock() {
  static const int64_t ticks_per_second = ReadTicksPerSecond();
  // In this order: whatever time passes in between makes the reading earlier,
  // and a timeout counted from it longer, never shorter.
  const absl::Duration boot = ReadClock(CLOCK_BOOTTIME);
  const absl::Duration monotonic = ReadClock(CLOCK_MONOTONIC);
  const absl::Duration coarse = ReadClock(CLOCK_MONOTONIC_COARSE);
  return {.last_tick = BootTime(boot - (monotonic - coarse)), .ticks_per_second = ticks_per_second};
}

std::optional<uint64_t> TimeoutMilliseconds(const TimeoutClock& clock, BootTime end) {
  if (end <= clock.last_tick) return std::nullopt;
  const int64_t remaining = absl::ToInt64Nanoseconds(end - clock.last_tick);
  // Apart, because nanoseconds times ticks would overflow after a few months.
  const int64_t seconds = remaining / kNanosecondsPerSecond;
  const int64_t fraction = remaining % kNanosecondsPerSecond;
  const int64_t ticks = seconds * clock.ticks_per_second +
                        DivideUp(fraction * clock.ticks_per_second, kNanosecondsPerSecond);
  return DivideUp(ticks * kMillisecondsPerSecond, clock.ticks_per_second);
}

int64_t TicksBetween(const TimeoutClock& earlier, const TimeoutClock& later) {
  // To the nearest: the readings lie on ticks but for what passed between their
  // clocks.
  const absl::Duration elapsed = later.last_tick - earlier.last_tick;
  return std::llround(absl::ToDoubleSeconds(elapsed) * static_cast<double>(later.ticks_per_second));
}

}  // namespace postern::nft
