#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/unit/controller/service/fixture.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string SecretFor(AccessService& access, const Caller& caller, const Scope& scope, int uses) {
  const absl::StatusOr<NewJoinToken> made =
      access.CreateJoinToken(caller, scope, "west", uses, absl::Hours(1));
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? made->secret : "";
}

TEST_P(ServiceTest, AJoinTokenIsUsedUp) {
  const Scope group = {.subscription = Vm("").subscription, .resource_group = "web"};
  const std::string secret = SecretFor(*access_, By("owner"), group, 2);
  EXPECT_EQ(fleet_->Enroll(secret, "db-1", "192.0.2.1")->name, "db-1");
  EXPECT_EQ(fleet_->Enroll(secret, "db-2", "192.0.2.1")->name, "db-2");
  EXPECT_EQ(fleet_->Enroll(secret, "db-3", "192.0.2.1").status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST_P(ServiceTest, AJoinTokenLetsItsVmInAgainUntilThatHasAttached) {
  const Scope group = {.subscription = Vm("").subscription, .resource_group = "web"};
  for (const Scope& scope : {group, Scope::Of(Vm("db-1"))}) {
    const std::string secret = SecretFor(*access_, By("owner"), scope, 1);
    ASSERT_TRUE(fleet_->Enroll(secret, "db-1", "192.0.2.1").ok());
    EXPECT_TRUE(fleet_->Enroll(secret, "db-1", "192.0.2.1").ok());
    ASSERT_EQ(fleet_->RecordCertificate(Vm("db-1"), kSerial, absl::InfiniteFuture(), ""),
              absl::OkStatus());
    ASSERT_EQ(fleet_->Attached(StreamOf("db-1"), kSerial, {}), absl::OkStatus());
    EXPECT_FALSE(fleet_->Enroll(secret, "db-1", "192.0.2.1").ok());
  }
}

TEST_P(ServiceTest, WhoIsNotLetInIsOnRecordButFillsNoStore) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(fleet_->Enroll("postern-join-x", "db-1", "192.0.2.1").ok());
  }
  const std::vector<AuditRow> strangers = Audit("Postern/virtualMachines/enroll");
  const auto denied = [](const AuditRow& row) { return row.status == "Denied"; };
  EXPECT_EQ(std::count_if(strangers.begin(), strangers.end(), denied), 10);

  EXPECT_FALSE(fleet_->Attached(StreamOf("web-1", "stolen"), "0b", {}).ok());
  const std::vector<AuditRow> stolen = Audit("Postern/virtualMachines/attach");
  ASSERT_THAT(stolen, SizeIs(1));
  EXPECT_EQ(stolen[0].status, "Denied");
  EXPECT_EQ(stolen[0].caller, "agent:web-1");
  EXPECT_EQ(stolen[0].target, Vm("web-1").ToString());
  EXPECT_THAT(stolen[0].detail, HasSubstr("was replaced"));
}

TEST_P(ServiceTest, JoinTokensAreForgottenAWhileAfterTheirEnd) {
  SecretFor(*access_, By("owner"), Scope::Of(Vm("db-1")), 1);
  clock_.Advance(absl::Hours(24 * 31));
  SecretFor(*access_, By("owner"), Scope::Of(Vm("db-2")), 1);
  const absl::StatusOr<std::vector<JoinToken>> tokens = access_->ListJoinTokens(By("owner"));
  ASSERT_TRUE(tokens.ok());
  ASSERT_THAT(*tokens, SizeIs(1));
  EXPECT_EQ(tokens->front().scope.vm, "db-2");
}

TEST_P(ServiceTest, AJoinTokenOfAGroupTakesOverNoVmThatIsThere) {
  const Scope group = {.subscription = Vm("").subscription, .resource_group = "web"};
  const std::string secret = SecretFor(*access_, By("owner"), group, 5);
  EXPECT_EQ(fleet_->Enroll(secret, "WEB-1", "192.0.2.1").status().code(),
            absl::StatusCode::kUnauthenticated);
  // One for the VM alone does: its disk was lost.
  const std::string own = SecretFor(*access_, By("owner"), Scope::Of(Vm("web-1")), 1);
  EXPECT_TRUE(fleet_->Enroll(own, "web-1", "192.0.2.1").ok());
}

TEST_P(ServiceTest, JoinTokensThatAreNotGoodLetNobodyIn) {
  const std::string secret = SecretFor(*access_, By("owner"), Scope::Of(Vm("db-1")), 1);
  EXPECT_FALSE(fleet_->Enroll("postern-join-x", "db-1", "192.0.2.1").ok());
  EXPECT_FALSE(fleet_->Enroll("", "db-1", "192.0.2.1").ok());
  EXPECT_EQ(fleet_->Enroll(std::string(513, 'x'), "db-1", "192.0.2.1").status().code(),
            absl::StatusCode::kInvalidArgument);
  const absl::StatusOr<std::vector<JoinToken>> tokens = access_->ListJoinTokens(By("owner"));
  ASSERT_TRUE(tokens.ok());
  for (const JoinToken& token : *tokens) {
    if (token.scope.vm == "db-1") {
      ASSERT_EQ(access_->RevokeJoinToken(By("owner"), token.id), absl::OkStatus());
    }
  }
  EXPECT_FALSE(fleet_->Enroll(secret, "db-1", "192.0.2.1").ok());

  const std::string late = SecretFor(*access_, By("owner"), Scope::Of(Vm("db-1")), 1);
  clock_.Advance(absl::Hours(1));
  EXPECT_FALSE(fleet_->Enroll(late, "db-1", "192.0.2.1").ok());
}

TEST_P(ServiceTest, ATokenForOneVmSaysWhichItIs) {
  const std::string secret = SecretFor(*access_, By("owner"), Scope::Of(Vm("db-1")), 1);
  const absl::StatusOr<VmId> vm = fleet_->Enroll(secret, "web-1", "192.0.2.1");
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->name, "db-1");
}

TEST_P(ServiceTest, AnAgentSpeaksForItsOwnVmAlone) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  const absl::Status status = fleet_->Take(
      StreamOf("web-2"),
      {.revision = 1,
       .grants = {{.id = request.ports[0].grant_id, .state = ReportedState::kActive}}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
}

TEST_P(ServiceTest, AGrantThatIsNotKnownHereKeepsNothingElseFromBeingTold) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  const absl::Status taken = fleet_->Take(
      StreamOf("web-1"),
      {.revision = 1,
       .grants = {{.id = "11111111-2222-4333-8444-555555555555", .state = ReportedState::kExpired},
                  {.id = request.ports[0].grant_id, .state = ReportedState::kActive}}});
  EXPECT_EQ(taken, absl::OkStatus());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiated);
}

// Otherwise the agent would take it for one that nobody has asked for, and cut its sessions.
TEST_P(ServiceTest, WhatHasEndedAndIsNotClosedYetIsWithdrawnWithItsSessionsKept) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  clock_.Advance(absl::Hours(1));
  const Wanted wanted = WantedOf("web-1");
  EXPECT_THAT(wanted.grants, IsEmpty());
  ASSERT_THAT(wanted.withdrawn, SizeIs(1));
  EXPECT_EQ(wanted.withdrawn[0].id, request.ports[0].grant_id);
  EXPECT_TRUE(wanted.withdrawn[0].keep_sessions);
}

TEST_P(ServiceTest, AVmThatWasRemovedIsNotKnown) {
  Join("db-1");
  ASSERT_EQ(access_->RemoveVm(By("owner"), Vm("db-1"), /*force=*/false), absl::OkStatus());
  EXPECT_EQ(fleet_->WantedOf(StreamOf("db-1")).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(fleet_->Attached(StreamOf("db-1"), kSerial, {}).code(),
            absl::StatusCode::kPermissionDenied);
  const absl::Status in_policy = access_->RemoveVm(By("owner"), Vm("web-1"), /*force=*/false);
  EXPECT_THAT(std::string(in_policy.message()), HasSubstr("in a policy"));
}

TEST_P(ServiceTest, ALateEndOfAnEarlierStreamChangesNothing) {
  ASSERT_EQ(fleet_->Attached(StreamOf("web-1", "second"), kSerial, {.enforces = true}),
            absl::OkStatus());
  ASSERT_EQ(fleet_->Detached({StreamOf("web-1", "first")}), absl::OkStatus());
  EXPECT_TRUE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
  ASSERT_EQ(fleet_->Detached({StreamOf("web-1", "second")}), absl::OkStatus());
  EXPECT_FALSE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
}

TEST_P(ServiceTest, AStreamIsOverOnceItsVmHasAttachedAnotherTime) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  ASSERT_EQ(fleet_->Attached(StreamOf("web-1", "second"), kSerial, {.enforces = true}),
            absl::OkStatus());
  const Report report = {
      .revision = 1,
      .grants = {{.id = request.ports[0].grant_id, .state = ReportedState::kActive}}};
  EXPECT_EQ(fleet_->WantedOf(StreamOf("web-1")).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(fleet_->Take(StreamOf("web-1"), report).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
  EXPECT_EQ(fleet_->Take(StreamOf("web-1", "second"), report), absl::OkStatus());
}

TEST_P(ServiceTest, WhoeverJoinedBeforeIsCutOff) {
  const std::string own = SecretFor(*access_, By("owner"), Scope::Of(Vm("web-1")), 1);
  ASSERT_TRUE(fleet_->Enroll(own, "web-1", "192.0.2.1").ok());
  EXPECT_EQ(fleet_->WantedOf(StreamOf("web-1")).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(fleet_->Attached(StreamOf("web-1", "again"), kSerial, {}).code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_P(ServiceTest, AStreamIsAsGoodAsTheControllerThatHoldsIt) {
  EXPECT_TRUE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
  clock_.Advance(FleetService::kControllerGone + absl::Seconds(1));
  EXPECT_FALSE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
  ASSERT_EQ(fleet_->KeepAlive(), absl::OkStatus());
  EXPECT_TRUE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
  FleetService other(store_->database(), clock_);
  clock_.Advance(absl::Hours(25));
  ASSERT_EQ(other.KeepAlive(), absl::OkStatus());
  EXPECT_FALSE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
}

TEST_P(ServiceTest, ManyStreamsEndAtOnce) {
  ASSERT_EQ(fleet_->Attached(StreamOf("web-1", "one"), kSerial, {.enforces = true}),
            absl::OkStatus());
  ASSERT_EQ(fleet_->Attached(StreamOf("web-2", "two"), kSerial, {.enforces = true}),
            absl::OkStatus());
  ASSERT_EQ(fleet_->Detached({StreamOf("web-1", "one"), StreamOf("gone", "three"),
                              StreamOf("web-2", "earlier")}),
            absl::OkStatus());
  EXPECT_FALSE(access_->GetVm(By("owner"), Vm("web-1"))->attached);
  EXPECT_TRUE(access_->GetVm(By("owner"), Vm("web-2"))->attached);
}

TEST_P(ServiceTest, AnAgentThatIsAheadOfWhatWasWantedIsNotBelieved) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = 1'000'000}), absl::OkStatus());
  ASSERT_TRUE(access_->EndRequest(By("ana"), request.id, "").ok());
  EXPECT_THAT(WantedOf("web-1").withdrawn, SizeIs(1));
}

TEST_P(ServiceTest, WhatWasRevokedOnTheVmItselfIsOver) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = 1,
                                             .grants = {{.id = request.ports[0].grant_id,
                                                         .state = ReportedState::kRevoked,
                                                         .reason = "lockdown"}}}),
            absl::OkStatus());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kRevoked);
  EXPECT_EQ(Get(request.id).ports[0].detail, "lockdown");
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
}

}  // namespace
}  // namespace postern::controller
