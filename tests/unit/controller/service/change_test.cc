// Requests that are extended and moved, and what their VMs say to that.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controller/domain/error.h"
#include "tests/unit/controller/service/fixture.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

TEST_P(ServiceTest, AnExtensionStaysWithinThePolicy) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  const absl::StatusOr<Request> longer =
      access_->ExtendRequest(By("ana"), request.id, absl::Hours(2));
  ASSERT_TRUE(longer.ok()) << longer.status();
  EXPECT_EQ(*longer->ports[0].end, clock_.Read().wall + absl::Hours(3));
  EXPECT_EQ(WantedOf("web-1").grants[0].end, clock_.Read().wall + absl::Hours(3));
  EXPECT_EQ(access_->ExtendRequest(By("ana"), request.id, absl::Seconds(1)).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(access_->ExtendRequest(By("ana"), request.id, -absl::Hours(1)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(access_->ExtendRequest(By("ben"), request.id, absl::Seconds(1)).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_P(ServiceTest, AMoveStaysWithinThePolicyAndKeepsTheGrant) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  const Sources inside = {.prefixes = {*Prefix::Parse("203.0.113.9")}};
  ASSERT_TRUE(access_->MoveRequest(By("ana"), request.id, inside).ok());
  const Wanted wanted = WantedOf("web-1");
  EXPECT_EQ(wanted.grants[0].id, request.ports[0].grant_id);
  EXPECT_EQ(wanted.grants[0].sources.prefixes[0].ToString(), "203.0.113.9/32");
  const Sources outside = {.prefixes = {*Prefix::Parse("198.51.100.9")}};
  EXPECT_EQ(access_->MoveRequest(By("ana"), request.id, outside).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(access_->MoveRequest(By("ana"), request.id, Sources{}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_P(ServiceTest, AChangeIsInitiatingUntilTheVmHasIt) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  const int64_t before = WantedOf("web-1").revision;
  ASSERT_TRUE(access_->ExtendRequest(By("ana"), request.id, absl::Hours(1)).ok());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
  // Told before the agent heard of it.
  const ReportedGrant active = {.id = request.ports[0].grant_id, .state = ReportedState::kActive};
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = before, .grants = {active}}),
            absl::OkStatus());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
  Apply("web-1");
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiated);

  ASSERT_TRUE(
      access_->MoveRequest(By("ana"), request.id, {.prefixes = {*Prefix::Parse("203.0.113.9")}})
          .ok());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
  // It was open all the time, so this is its end and no failure.
  clock_.Advance(absl::Hours(2));
  ASSERT_TRUE(access_->EndWhatIsDue().ok());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kExpired);
}

TEST_P(ServiceTest, AnExtensionThatTheVmRefusesLeavesTheEndAsItWas) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  const absl::Time end = *request.ports[0].end;
  ASSERT_TRUE(access_->ExtendRequest(By("ana"), request.id, absl::Hours(1)).ok());
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = WantedOf("web-1").revision,
                                             .grants = {{.id = request.ports[0].grant_id,
                                                         .state = ReportedState::kActive,
                                                         .reason = "limits.max_duration is 1h",
                                                         .end = end}}}),
            absl::OkStatus());
  const RequestedPort port = Get(request.id).ports[0];
  EXPECT_EQ(port.status, PortStatus::kInitiated);
  EXPECT_EQ(port.end, end);
  EXPECT_EQ(port.duration, absl::Hours(1));
  EXPECT_EQ(port.detail, "limits.max_duration is 1h");
  EXPECT_EQ(Audit("Postern/grants/extend")[0].status, "Failed");
}

TEST_P(ServiceTest, AMoveThatTheVmRefusesIsARefusal) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  ASSERT_TRUE(
      access_->MoveRequest(By("ana"), request.id, {.prefixes = {*Prefix::Parse("203.0.113.9")}})
          .ok());
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = WantedOf("web-1").revision,
                                             .grants = {{.id = request.ports[0].grant_id,
                                                         .state = ReportedState::kNotMade,
                                                         .reason = "not from there"}}}),
            absl::OkStatus());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kRefusedByAgent);
  EXPECT_EQ(Get(request.id).ports[0].detail, "not from there");
}

TEST_P(ServiceTest, WhatIsOverIsNotChanged) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  // Nobody has told it so yet.
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(AzureCodeOf(access_->ExtendRequest(By("ana"), request.id, absl::Hours(1)).status()),
            "RequestOver");
}

// The kernel had it, whatever became of the change.
TEST_P(ServiceTest, WhatIsChangedBeforeTheVmToldOfItWasOpenAllTheSame) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  const int64_t before = WantedOf("web-1").revision;
  ASSERT_TRUE(access_->ExtendRequest(By("ana"), request.id, absl::Hours(1)).ok());
  const ReportedGrant active = {.id = request.ports[0].grant_id, .state = ReportedState::kActive};
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = before, .grants = {active}}),
            absl::OkStatus());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
  EXPECT_THAT(Audit("Postern/grants/apply"), SizeIs(1));
  clock_.Advance(absl::Hours(2));
  ASSERT_TRUE(access_->EndWhatIsDue().ok());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kExpired);
}

// What a live request stands under is the policy of now.
TEST_P(ServiceTest, AChangeHeedsTheWholePolicyOfNow) {
  const Request request = Initiate("ana", 22, absl::Minutes(30));
  const Request any = Initiate("ana", 3389, absl::Minutes(30));
  Apply("web-1");
  PolicyChange narrowed = WebPolicy();
  narrowed.vms[0].ports[0].allowed_sources = {.prefixes = {*Prefix::Parse("198.51.100.0/24")}};
  narrowed.vms[0].ports[1].protocol = RuleProtocol::kTcp;
  ASSERT_TRUE(access_->PutPolicy(By("owner"), narrowed).ok());
  const auto extended = [&](const Request& one) {
    return std::string(
        access_->ExtendRequest(By("ana"), one.id, absl::Minutes(1)).status().message());
  };
  EXPECT_THAT(extended(request), HasSubstr("does not allow it from 203.0.113.7/32"));
  EXPECT_THAT(extended(any), HasSubstr("another protocol"));
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiated);
  EXPECT_EQ(Get(request.id).ports[0].end, request.ports[0].end);
}

}  // namespace
}  // namespace postern::controller
