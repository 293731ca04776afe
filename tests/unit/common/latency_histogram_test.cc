#include "common/latency_histogram.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

TEST(LatencyHistogram, CountsWhatTookABoundExactlyBelowIt) {
  LatencyHistogram latency;
  latency.Observe(absl::ZeroDuration());
  latency.Observe(absl::Milliseconds(1));
  latency.Observe(absl::Nanoseconds(1'000'001));
  latency.Observe(absl::Seconds(3));
  EXPECT_EQ(latency.counts().front(), 1U);
  EXPECT_EQ(latency.counts()[3], 1U);  // up to 1 ms
  EXPECT_EQ(latency.counts()[4], 1U);  // up to 2.5 ms
  EXPECT_EQ(latency.counts().back(), 1U);
  EXPECT_EQ(latency.sum(), absl::Nanoseconds(3'002'000'001));
}

}  // namespace
}  // namespace postern
