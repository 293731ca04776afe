#include "agent/firewall/nft/timeout.h"

#include <gtest/gtest.h>

#include <optional>

#include "absl/time/time.h"

namespace postern::nft {
namespace {

BootTime At(absl::Duration since_boot) { return BootTime(since_boot); }

// What the kernel makes of milliseconds (nsecs_to_jiffies64).
int64_t KernelTicks(uint64_t milliseconds, int64_t ticks_per_second) {
  return static_cast<int64_t>(milliseconds) * ticks_per_second / 1000;
}

TEST(TimeoutTest, AnEndThatHasPassedHasNone) {
  const TimeoutClock clock = {.last_tick = At(absl::Seconds(10)), .ticks_per_second = 250};
  EXPECT_EQ(TimeoutMilliseconds(clock, At(absl::Seconds(10))), std::nullopt);
  EXPECT_EQ(TimeoutMilliseconds(clock, At(absl::Seconds(9))), std::nullopt);
  EXPECT_EQ(TimeoutMilliseconds(clock, At(-absl::InfiniteDuration())), std::nullopt);
}

TEST(TimeoutTest, IsWholeTicksRoundedUp) {
  const TimeoutClock clock = {.last_tick = At(absl::Seconds(10)), .ticks_per_second = 250};
  EXPECT_EQ(TimeoutMilliseconds(clock, At(absl::Seconds(11))), 1000);
  EXPECT_EQ(TimeoutMilliseconds(clock, At(absl::Seconds(11) + absl::Nanoseconds(1))), 1004);
  EXPECT_EQ(TimeoutMilliseconds(clock, At(absl::Seconds(10) + absl::Nanoseconds(1))), 4);
  EXPECT_EQ(TimeoutMilliseconds(clock, At(absl::Hours(24 * 3650) + absl::Seconds(10))),
            uint64_t{3650} * 86'400'000);
}

// Whatever the kernel's tick: never before the end, and less than a tick later.
TEST(TimeoutTest, CoversTheEndInTheKernelsTicks) {
  for (const int64_t hz : {100, 250, 300, 1000, 1024}) {
    const TimeoutClock clock = {.last_tick = At(absl::Seconds(77)), .ticks_per_second = hz};
    const absl::Duration tick = absl::Seconds(1) / hz;
    for (absl::Duration remaining :
         {absl::Nanoseconds(1), absl::Microseconds(999), absl::Milliseconds(3),
          absl::Milliseconds(10), absl::Seconds(1), absl::Seconds(59.9999), absl::Minutes(15),
          absl::Hours(3) + absl::Nanoseconds(12345), absl::Hours(24 * 365)}) {
      const auto timeout = TimeoutMilliseconds(clock, clock.last_tick + remaining);
      ASSERT_TRUE(timeout.has_value());
      // A kernel with 1024 ticks a second rounds a number of them to milliseconds
      // and back to up to one more.
      const absl::Duration slack = 1000 % hz == 0 || hz == 300 ? tick : 2 * tick;
      const int64_t ticks = KernelTicks(*timeout, hz);
      EXPECT_GE(absl::Seconds(ticks) / hz, remaining) << hz << " " << remaining;
      EXPECT_LT(absl::Seconds(ticks) / hz, remaining + slack) << hz << " " << remaining;
    }
  }
}

TEST(TimeoutTest, TheMachinesTickIsPlausible) {
  const TimeoutClock first = ReadTimeoutClock();
  const Now now = SystemClock().Read();
  EXPECT_GE(first.ticks_per_second, 24);
  EXPECT_LE(first.ticks_per_second, 1200);
  EXPECT_LE(first.last_tick, now.boot);
  EXPECT_GT(first.last_tick, now.boot - absl::Seconds(5));
}

TEST(TimeoutTest, CountsTicksBetweenReadings) {
  const TimeoutClock first = {.last_tick = At(absl::Seconds(1)), .ticks_per_second = 250};
  TimeoutClock second = first;
  EXPECT_EQ(TicksBetween(first, second), 0);
  second.last_tick = second.last_tick + absl::Milliseconds(4) - absl::Microseconds(3);
  EXPECT_EQ(TicksBetween(first, second), 1);
  second.last_tick = second.last_tick + absl::Seconds(1);
  EXPECT_EQ(TicksBetween(first, second), 251);
}

}  // namespace
}  // namespace postern::nft
