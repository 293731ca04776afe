// What the tests of the whole daemon share.

#ifndef POSTERN_TESTS_KERNEL_DAEMON_DAEMON_TEST_H_
#define POSTERN_TESTS_KERNEL_DAEMON_DAEMON_TEST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/kernel/daemon/host.h"

#define ASSERT_OK(expression) ASSERT_EQ((expression), absl::OkStatus())
#define EXPECT_OK(expression) EXPECT_EQ((expression), absl::OkStatus())

namespace postern {

inline constexpr char kFriend[] = "10.0.0.7";
inline constexpr char kStranger[] = "10.1.1.1";

inline void SleepUntil(absl::Time time) { absl::SleepFor(time - absl::Now()); }

class DaemonTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<DaemonHost>> host = DaemonHost::Create();
    ASSERT_OK(host.status());
    host_ = *std::move(host);
  }

  void Start() { ASSERT_OK(host_->Start()); }

  // Runs it to its end; the exit status.
  int Run(const std::vector<std::string>& arguments) {
    EXPECT_OK(host_->Launch(arguments));
    const absl::StatusOr<int> status = host_->daemon().Wait(kPatience);
    EXPECT_OK(status.status());
    return status.value_or(-1);
  }

  v1::Grant Allow(const std::string& source, absl::Duration duration) {
    const Answer answer = Create(*host_->Local(), NewGrant(source, duration));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    return answer.grant;
  }

  bool TableStands() {
    const absl::StatusOr<bool> stands = host_->firewall().HasTable();
    EXPECT_OK(stands.status());
    return stands.value_or(false);
  }

  void ExpectNoDifference() {
    const absl::StatusOr<std::string> difference = Difference(*host_->Local(), host_->firewall());
    EXPECT_OK(difference.status());
    EXPECT_EQ(difference.value_or(""), "");
  }

  std::unique_ptr<DaemonHost> host_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_DAEMON_DAEMON_TEST_H_
