#include "controller/limits/rate_limit.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kNone = absl::ZeroDuration();

class RateLimitTest : public testing::Test {
 protected:
  absl::Duration Take(const std::string& name) { return limit_.Take(name, now_); }
  void Advance(absl::Duration by) { now_ = now_ + by; }

  RateLimit limit_{2, 3, 4};
  BootTime now_{absl::Seconds(1000)};
};

TEST_F(RateLimitTest, LetsABurstAndThenTheRateThrough) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take("a"), kNone) << i;
  EXPECT_EQ(Take("a"), absl::Milliseconds(500));
  Advance(absl::Milliseconds(250));
  EXPECT_EQ(Take("a"), absl::Milliseconds(250));
  Advance(absl::Milliseconds(250));
  EXPECT_EQ(Take("a"), kNone);
  EXPECT_EQ(Take("a"), absl::Milliseconds(500));
}

TEST_F(RateLimitTest, WhoIsRefusedDoesNotWaitLonger) {
  for (int i = 0; i < 100; ++i) Take("a");
  Advance(absl::Milliseconds(500));
  EXPECT_EQ(Take("a"), kNone);
}

TEST_F(RateLimitTest, SavesNoMoreThanABurst) {
  Take("a");
  Advance(absl::Hours(1));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take("a"), kNone) << i;
  EXPECT_GT(Take("a"), kNone);
}

TEST_F(RateLimitTest, OneDoesNotPayForAnother) {
  for (int i = 0; i < 10; ++i) Take("a");
  EXPECT_EQ(Take("b"), kNone);
}

TEST_F(RateLimitTest, ManyNamesDoNotFreeTheOneThatCallsOn) {
  for (int i = 0; i < 10; ++i) Take("a");
  for (int i = 0; i < 1000; ++i) {
    Advance(absl::Microseconds(1));
    Take(absl::StrCat("stranger ", i));
    EXPECT_GT(Take("a"), kNone) << i;
  }
}

}  // namespace
}  // namespace postern::controller
