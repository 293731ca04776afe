#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "controller/domain/error.h"
#include "tests/unit/controller/service/fixture.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ApprovalTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    PolicyChange change = WebPolicy();
    change.additions = {.approvals = 2, .approver_role = "Security Admin"};
    ASSERT_TRUE(access_->PutPolicy(By("owner"), change).ok());
    for (const char* who : {"ana", "amy", "abe"}) {
      Assign(who, BuiltInRole::kSecurityAdmin, Vm("web-1").ToString());
    }
  }
};

TEST_P(ApprovalTest, TheClockStartsWithTheLastApproval) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  EXPECT_EQ(request.ports[0].status, PortStatus::kPending);
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
  clock_.Advance(absl::Hours(5));
  TakeChanged();
  const absl::StatusOr<Request> approved = access_->ApproveRequest(By("abe"), request.id);
  ASSERT_TRUE(approved.ok()) << approved.status();
  EXPECT_EQ(approved->ports[0].status, PortStatus::kInitiating);
  EXPECT_EQ(*approved->ports[0].end, clock_.Read().wall + absl::Hours(1));
  EXPECT_THAT(WantedOf("web-1").grants, SizeIs(1));
  EXPECT_THAT(TakeChanged(), SizeIs(1));
}

TEST_P(ApprovalTest, NobodyApprovesTheirOwnNorTwice) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  const absl::Status own = access_->ApproveRequest(By("ana"), request.id).status();
  EXPECT_EQ(own.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(own.message()), HasSubstr("own"));
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kPending);
}

TEST_P(ApprovalTest, OnlyTheRoleThatThePolicyNamesApproves) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  EXPECT_EQ(access_->ApproveRequest(By("ben"), request.id).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(access_->ApproveRequest(By("owner"), request.id).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(access_->DenyRequest(By("ben"), request.id, "").status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_P(ApprovalTest, ADeniedRequestIsOver) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
  ASSERT_TRUE(access_->DenyRequest(By("abe"), request.id, "not today").ok());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kDenied);
  EXPECT_EQ(access_->ApproveRequest(By("abe"), request.id).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
}

TEST_P(ApprovalTest, ARequestThatNobodyAnswersLapses) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  EXPECT_EQ(*access_->EndWhatIsDue(), clock_.Read().wall + kApprovalWait);
  clock_.Advance(kApprovalWait);
  EXPECT_EQ(*access_->EndWhatIsDue(), absl::InfiniteFuture());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kLapsed);
  EXPECT_FALSE(access_->ApproveRequest(By("amy"), request.id).ok());
}

TEST_P(ApprovalTest, WhatIsApprovedIsNotChanged) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  EXPECT_EQ(AzureCodeOf(access_->ExtendRequest(By("ana"), request.id, absl::Hours(1)).status()),
            "ApprovalRequired");
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
  ASSERT_TRUE(access_->ApproveRequest(By("abe"), request.id).ok());
  EXPECT_FALSE(access_->ExtendRequest(By("ana"), request.id, absl::Hours(1)).ok());
  EXPECT_FALSE(
      access_->MoveRequest(By("ana"), request.id, {.prefixes = {*Prefix::Parse("203.0.113.9")}})
          .ok());
}

TEST_P(ApprovalTest, WhatThePolicyDoesNotAllowAnyMoreIsNotApproved) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
  PolicyChange narrowed = WebPolicy();
  for (PolicyVm& vm : narrowed.vms) {
    for (PortRule& rule : vm.ports) rule.max_duration = absl::Minutes(30);
  }
  ASSERT_TRUE(access_->PutPolicy(By("owner"), narrowed).ok());
  const absl::Status refused = access_->ApproveRequest(By("abe"), request.id).status();
  EXPECT_EQ(AzureCodeOf(refused), "PolicyChanged");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("at most 30m"));
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
  EXPECT_TRUE(access_->DenyRequest(By("abe"), request.id, "").ok());
}

// Nor for what else has changed since it was asked for.
TEST_P(ApprovalTest, WhatIsApprovedIsHeldAgainstAllOfThePolicyOfNow) {
  const Request request =
      *access_->Initiate(By("ana"), WebPolicyId(), {.vms = Ask(22, absl::Hours(1)).vms});
  const auto refusal_under = [&](const PolicyChange& change) {
    EXPECT_TRUE(access_->PutPolicy(By("owner"), change).ok());
    const absl::Status status = access_->ApproveRequest(By("amy"), request.id).status();
    EXPECT_EQ(AzureCodeOf(status), "PolicyChanged");
    return std::string(status.message());
  };
  PolicyChange elsewhere = WebPolicy();
  elsewhere.vms[0].ports[0].allowed_sources = {.prefixes = {*Prefix::Parse("198.51.100.0/24")}};
  EXPECT_THAT(refusal_under(elsewhere), HasSubstr("does not allow it from 203.0.113.7/32"));
  PolicyChange other_protocol = WebPolicy();
  other_protocol.vms[0].ports[0].protocol = RuleProtocol::kUdp;
  EXPECT_THAT(refusal_under(other_protocol), HasSubstr("another protocol"));
  PolicyChange justified = WebPolicy();
  justified.additions = PolicyAdditions{
      .justification_required = true, .approvals = 2, .approver_role = "Security Admin"};
  EXPECT_THAT(refusal_under(justified), HasSubstr("wants a justification"));
  EXPECT_THAT(Get(request.id).approved_by, IsEmpty());
}

TEST_P(ApprovalTest, WhoMayNotAskAnyMoreGetsNothingApproved) {
  const Request request = Initiate("ben", 22, absl::Hours(1));
  const std::string group =
      "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web";
  const RoleAssignment was = {
      .principal = "ben", .role = BuiltInRole::kJitRequester, .scope = *Scope::Parse(group)};
  ASSERT_EQ(access_->RemoveRole(By("owner"), was), absl::OkStatus());
  const absl::Status refused = access_->ApproveRequest(By("amy"), request.id).status();
  EXPECT_EQ(AzureCodeOf(refused), "RequestorChanged");
  ASSERT_EQ(access_->AssignRole(By("owner"), was), absl::OkStatus());
  EXPECT_TRUE(access_->ApproveRequest(By("amy"), request.id).ok());
}

TEST_P(ApprovalTest, APortThatThePolicyLostIsNotOpenedByAnApproval) {
  Asked both = Ask(22, absl::Hours(1));
  both.vms[0].ports.push_back({.number = 3389, .duration = absl::Hours(1)});
  const absl::StatusOr<Request> request = access_->Initiate(By("ana"), WebPolicyId(), both);
  ASSERT_TRUE(request.ok()) << request.status();
  PolicyChange without = WebPolicy();
  without.vms[0].ports.pop_back();
  ASSERT_TRUE(access_->PutPolicy(By("owner"), without).ok());
  ASSERT_TRUE(access_->PutPolicy(By("owner"), WebPolicy()).ok());
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), request->id).ok());
  ASSERT_TRUE(access_->ApproveRequest(By("abe"), request->id).ok());
  EXPECT_EQ(Get(request->id).ports[0].status, PortStatus::kInitiating);
  EXPECT_EQ(Get(request->id).ports[1].reason, EndReason::kPolicyDeleted);
  EXPECT_THAT(WantedOf("web-1").grants, SizeIs(1));
}

TEST_P(ApprovalTest, MoreApprovalsThanWereWantedAreAskedForAnew) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  PolicyChange stricter = WebPolicy();
  stricter.additions = PolicyAdditions{.approvals = 3, .approver_role = "Security Admin"};
  ASSERT_TRUE(access_->PutPolicy(By("owner"), stricter).ok());
  EXPECT_EQ(AzureCodeOf(access_->ApproveRequest(By("amy"), request.id).status()), "PolicyChanged");
}

TEST_P(ApprovalTest, WhatWasNotApprovedIsNotChangedOnceThePolicyWantsApprovals) {
  PolicyChange without = WebPolicy();
  without.additions = PolicyAdditions{};
  ASSERT_TRUE(access_->PutPolicy(By("owner"), without).ok());
  const Request live = Initiate("ana", 22, absl::Hours(1));
  PolicyChange with = WebPolicy();
  with.additions = PolicyAdditions{.approvals = 1, .approver_role = "Security Admin"};
  ASSERT_TRUE(access_->PutPolicy(By("owner"), with).ok());
  EXPECT_EQ(AzureCodeOf(access_->ExtendRequest(By("ana"), live.id, absl::Hours(1)).status()),
            "ApprovalRequired");
}

TEST_P(ApprovalTest, WhatWasEndedWhileItWaitedDoesNotLapse) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  ASSERT_TRUE(access_->EndRequest(By("ana"), request.id, "").ok());
  clock_.Advance(kApprovalWait);
  ASSERT_TRUE(access_->EndWhatIsDue().ok());
  EXPECT_THAT(Audit("Postern/requests/lapse"), IsEmpty());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kUserRequested);
}

TEST_P(ApprovalTest, AWaitingRequestReplacesNothingUntilItIsApproved) {
  PolicyChange without = WebPolicy();
  without.additions = PolicyAdditions{};
  ASSERT_TRUE(access_->PutPolicy(By("owner"), without).ok());
  const Request live = Initiate("ana", 22, absl::Hours(3));
  PolicyChange with = WebPolicy();
  with.additions = {.approvals = 1, .approver_role = "Security Admin"};
  ASSERT_TRUE(access_->PutPolicy(By("owner"), with).ok());
  const Request waiting = Initiate("ana", 22, absl::Hours(1));
  EXPECT_NE(Get(live.id).ports[0].status, PortStatus::kRevoked);
  ASSERT_TRUE(access_->ApproveRequest(By("amy"), waiting.id).ok());
  EXPECT_EQ(Get(live.id).ports[0].reason, EndReason::kNewerRequestInitiated);
}

// Or the approval of the older one would end the newer.
TEST_P(ApprovalTest, AWaitingRequestIsReplacedByANewerOne) {
  Asked both = Ask(22, absl::Hours(1));
  both.vms[0].ports.push_back({.number = 3389, .duration = absl::Hours(1)});
  const absl::StatusOr<Request> older = access_->Initiate(By("ana"), WebPolicyId(), both);
  ASSERT_TRUE(older.ok()) << older.status();
  const Request of_another = Initiate("ben", 22, absl::Hours(1));
  const Request newer = Initiate("ana", 22, absl::Hours(2));
  EXPECT_EQ(Get(older->id).ports[0].reason, EndReason::kNewerRequestInitiated);
  EXPECT_EQ(Get(older->id).ports[1].status, PortStatus::kPending);
  EXPECT_EQ(Get(of_another.id).ports[0].status, PortStatus::kPending);
  EXPECT_EQ(Get(newer.id).ports[0].status, PortStatus::kPending);
  for (const std::string& id : {newer.id, older->id}) {
    ASSERT_TRUE(access_->ApproveRequest(By("amy"), id).ok());
    ASSERT_TRUE(access_->ApproveRequest(By("abe"), id).ok());
  }
  EXPECT_EQ(Get(newer.id).ports[0].status, PortStatus::kInitiating);
  EXPECT_EQ(Get(older->id).ports[1].status, PortStatus::kInitiating);
}

INSTANTIATE_TEST_SUITE_P(Stores, ApprovalTest,
                         testing::Values(StoreKind::kSqlite, StoreKind::kPostgres),
                         [](const auto& test) { return StoreName(test.param); });

}  // namespace
}  // namespace postern::controller
