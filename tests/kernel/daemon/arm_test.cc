// A gate that is armed on trial, and a daemon that does not live to see its end.

#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {
namespace {

class ArmTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    host_->Configure("mode: observe\n");
    Start();
    ASSERT_TRUE(host_->Admits(kStranger, 22));
  }

  // Until when it is to be confirmed.
  absl::Time Arm(absl::Duration within) {
    grpc::ClientContext context;
    v1::ArmRequest request;
    *request.mutable_confirm_within() =
        google::protobuf::util::TimeUtil::MillisecondsToDuration(absl::ToInt64Milliseconds(within));
    v1::ArmResponse response;
    const grpc::Status status = host_->Local()->Arm(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return ToTime(response.armed().confirm_by());
  }

  void Confirm() {
    grpc::ClientContext context;
    v1::ConfirmResponse response;
    const grpc::Status status = host_->Local()->Confirm(&context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    // The next call is served after what a boot needs to know is written.
    EXPECT_OK(GetStatus(*host_->Local()).status());
  }
};

TEST_F(ArmTest, WithoutAConfirmationTheKernelOpensAlsoWhereTheDaemonIsDead) {
  const absl::Time until = Arm(absl::Seconds(2));
  host_->daemon().Kill();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  ASSERT_LT(absl::Now(), until) << "too slow to tell";
  SleepUntil(until + absl::Milliseconds(20));
  EXPECT_TRUE(host_->Admits(kStranger, 22));
  EXPECT_TRUE(TableStands());

  // It stays so: the next start knows that nobody confirmed.
  Start();
  EXPECT_TRUE(host_->Admits(kStranger, 22));
}

// A handshake passes at each of the three hooks, in both directions.
TEST_F(ArmTest, ConnectionsCanBeOpenedThen) {
  const absl::Time until = Arm(absl::Seconds(1));
  host_->daemon().Kill();
  SleepUntil(until + absl::Milliseconds(20));
  const absl::StatusOr<DaemonHost::Session> session = host_->OpenSession(kStranger, 22);
  ASSERT_OK(session.status());
  EXPECT_TRUE(session->Carries());
}

TEST_F(ArmTest, ARestartDoesNotLengthenTheTimeToConfirm) {
  const absl::Time until = Arm(absl::Seconds(3));
  host_->daemon().Kill();
  Start();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  host_->daemon().Kill();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  ASSERT_LT(absl::Now(), until) << "too slow to tell";
  SleepUntil(until + absl::Milliseconds(20));
  EXPECT_TRUE(host_->Admits(kStranger, 22));
}

TEST_F(ArmTest, WithAConfirmationItStaysClosed) {
  const absl::Time until = Arm(absl::Seconds(1));
  Confirm();
  host_->daemon().Kill();
  SleepUntil(until + absl::Milliseconds(100));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

TEST_F(ArmTest, GrantsAreServedMeanwhile) {
  Arm(absl::Minutes(1));
  Allow(kFriend, absl::Minutes(1));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  ExpectNoDifference();
}

// As a boot does it.
TEST_F(ArmTest, ABootBeginsWithAGateThatObservesUnlessItWasConfirmed) {
  Arm(absl::Minutes(1));
  host_->daemon().Kill();
  ASSERT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_TRUE(host_->Admits(kStranger, 22));

  Start();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  Confirm();
  host_->daemon().Kill();
  ASSERT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

}  // namespace
}  // namespace postern
