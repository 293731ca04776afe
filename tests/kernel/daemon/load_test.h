// What the tests share in which clients take more than their share: everybody
// else meanwhile.

#ifndef POSTERN_TESTS_KERNEL_DAEMON_LOAD_TEST_H_
#define POSTERN_TESTS_KERNEL_DAEMON_LOAD_TEST_H_

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {

#ifdef POSTERN_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// What others may wait, in the median.
inline constexpr absl::Duration kServedWithin = absl::Seconds(kSanitized ? 5 : 1);
// Of its memory: what it keeps, and at the worst moment.
inline constexpr uint64_t kMostGrowthKib = 150 * 1024;
inline constexpr uint64_t kMostPeakGrowthKib = 256 * 1024;

// How long `call` takes, in the median.
inline absl::Duration MedianOf(const std::function<void()>& call) {
  std::array<absl::Duration, 5> took;
  for (absl::Duration& one : took) {
    const absl::Time began = absl::Now();
    call();
    one = absl::Now() - began;
  }
  std::sort(took.begin(), took.end());
  return took[took.size() / 2];
}

class LoadTest : public DaemonTest {
 protected:
  void SetUp() override {
    // Hundreds of connections at both ends.
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    DaemonTest::SetUp();
    host_->Configure("limits: {max_live_grants: 100000}\n");
    Start();
    warm_ = host_->Remote();
    ASSERT_OK(GetStatus(*warm_).status());
    ASSERT_OK(GetStatus(*host_->Local()).status());
    rss_ = Kib(host_->daemon().RssKib());
  }

  void TearDown() override {
    if (HasFatalFailure()) return;
    EXPECT_OK(host_->daemon().Alive());
    if (!kSanitized) {
      EXPECT_LT(Kib(host_->daemon().RssKib()), rss_ + kMostGrowthKib);
      EXPECT_LT(Kib(host_->daemon().PeakRssKib()), rss_ + kMostPeakGrowthKib);
    }
    ExpectNoDifference();
  }

  static uint64_t Kib(const absl::StatusOr<uint64_t>& memory) {
    EXPECT_OK(memory.status());
    return memory.value_or(0);
  }

  // A client is served in time, and an end comes in time.
  void ExpectServed(v1::AgentService::Stub& stub) {
    EXPECT_LT(MedianOf([&] { EXPECT_OK(GetStatus(stub).status()); }), kServedWithin);
    const Answer brief = Create(stub, NewGrant(kFriend, absl::Seconds(2)));
    ASSERT_TRUE(brief.status.ok()) << brief.status.error_message();
    EXPECT_TRUE(host_->Admits(kFriend, 22));
    SleepUntil(ToTime(brief.grant.end_time()) + absl::Milliseconds(50));
    EXPECT_FALSE(host_->Admits(kFriend, 22));
    EXPECT_EQ(Get(stub, brief.grant.id()).grant.state(), v1::EXPIRED);
    EXPECT_LT(MedianOf([&] {
                const Answer answer = Create(stub, NewGrant("10.0.0.8", absl::Minutes(1)));
                EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
              }),
              kServedWithin);
  }

  // The same, for one who comes now.
  void ExpectNewcomerServed() {
    EXPECT_LT(MedianOf([&] { EXPECT_OK(GetStatus(*host_->Remote()).status()); }), kServedWithin);
  }

  // A connection that stood before.
  std::unique_ptr<v1::AgentService::Stub> warm_;
  uint64_t rss_ = 0;
};

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_DAEMON_LOAD_TEST_H_
