// The controller's end of the stream and the agent's, together.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/unit/controller/fleet/fixture.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

using AttachTest = FleetTest;

TEST_F(AttachTest, ARequestOpensTheGateAndItsEndClosesIt) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  EXPECT_TRUE(Becomes(request, PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
  EXPECT_FALSE(agent->Admits("203.0.113.8"));
  ASSERT_TRUE(access_->EndRequest(owner_, request.id, "done").ok());
  EXPECT_TRUE(Eventually([&] { return !agent->Admits("203.0.113.7"); }));
  EXPECT_EQ(agent->Get(request.ports[0].grant_id).state, GrantState::kRevoked);
}

TEST_F(AttachTest, WhatTheAgentRefusesComesBackAsTheReason) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  // The agent allows two hours.
  const Request request = Ask("203.0.113.7", absl::Hours(3));
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
  EXPECT_EQ(PortOf(request).reason, EndReason::kRefusedByAgent);
  EXPECT_THAT(PortOf(request).detail, HasSubstr("2h"));
}

TEST_F(AttachTest, ARequestThatIsMadeWhileTheAgentIsAwayIsAppliedOnItsReturn) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request before = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(before, PortStatus::kInitiated));
  EXPECT_EQ(PortOf(before).mapped_port, 2222);
  EXPECT_TRUE(access_->GetVm(owner_, Vm("web-1"))->attached);
  server_.reset();
  EXPECT_FALSE(access_->GetVm(owner_, Vm("web-1"))->attached);
  ASSERT_TRUE(Eventually([&] { return !agent->state().attached; }));
  // Losing the controller changes nothing.
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
  const Request meanwhile = Ask("203.0.113.8", absl::Hours(1));
  EXPECT_EQ(PortOf(meanwhile).status, PortStatus::kInitiating);
  StartServer();
  EXPECT_TRUE(Becomes(meanwhile, PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.8"));
  // The same person, the same port: the newer one stands.
  EXPECT_TRUE(Eventually([&] { return !agent->Admits("203.0.113.7"); }));
  EXPECT_EQ(agent->Get(before.ports[0].grant_id).state, GrantState::kSuperseded);
}

TEST_F(AttachTest, WhatEndedOnTheVmMeanwhileIsToldOnItsReturn) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  server_.reset();
  ASSERT_TRUE(Eventually([&] { return !agent->state().attached; }));
  agent->RevokeLocally(request.ports[0].grant_id);
  StartServer();
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
  EXPECT_THAT(PortOf(request).detail, HasSubstr("on the VM"));
  EXPECT_FALSE(agent->Admits("203.0.113.7"));
}

TEST_F(AttachTest, AnEndAndItsUsageAreToldAfterTheControllerWasAwayAndTheAgentStartedAgain) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  server_.reset();
  agent->Use("203.0.113.7", 7);
  agent->RevokeLocally(request.ports[0].grant_id);
  agent->Stop();
  agent->Start();
  StartServer();
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
  EXPECT_EQ(PortOf(request).usage.packets, 7);
  EXPECT_EQ(PortOf(request).usage.bytes, 420);
  EXPECT_TRUE(PortOf(request).usage.last_used);
  EXPECT_THAT(PortOf(request).detail, HasSubstr("on the VM"));
}

TEST_F(AttachTest, TheUsageOfWhatLivesIsToldNowAndThen) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  agent->Use("203.0.113.7", 7);
  agent->Advance(absl::Minutes(6));
  EXPECT_TRUE(Eventually([&] { return PortOf(request).usage.packets == 7; }));
  agent->Use("203.0.113.7", 1);
  agent->Advance(absl::Minutes(6));
  EXPECT_TRUE(Eventually([&] { return PortOf(request).usage.packets == 8; }));
  EXPECT_EQ(PortOf(request).usage.bytes, 480);
  EXPECT_EQ(PortOf(request).status, PortStatus::kInitiated);
}

TEST_F(AttachTest, WhatExpiredWhileTheAgentWasDownIsTold) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  agent->Stop();
  agent->Advance(absl::Hours(2));
  agent->Start();
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
  EXPECT_EQ(PortOf(request).reason, EndReason::kExpired);
}

// The controller has ended it by itself, and still learns how much it was used.
TEST_F(AttachTest, TheUsageOfWhatEndedOnBothSidesMeanwhileIsTold) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  server_.reset();
  agent->Use("203.0.113.7", 7);
  agent->RevokeLocally(request.ports[0].grant_id);
  ASSERT_TRUE(access_->EndRequest(owner_, request.id, "done").ok());
  agent->Stop();
  agent->Start();
  StartServer();
  EXPECT_TRUE(Eventually([&] { return PortOf(request).usage.packets == 7; }));
  EXPECT_EQ(PortOf(request).detail, "done");
  const AuditQuery ends = {.operation = "Postern/grants/end"};
  EXPECT_EQ(access_->ReadAudit(owner_, ends, 10)->size(), 1u);
}

TEST_F(AttachTest, WhatIsRevokedOnTheVmIsToldAtOnce) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  agent->RevokeLocally(request.ports[0].grant_id);
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
}

TEST_F(AttachTest, AnExtensionAndAMoveKeepTheGrant) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  ASSERT_TRUE(access_->ExtendRequest(owner_, request.id, absl::Minutes(30)).ok());
  ASSERT_TRUE(
      access_->MoveRequest(owner_, request.id, {.prefixes = {*Prefix::Parse("203.0.113.9")}}).ok());
  EXPECT_TRUE(Eventually([&] { return agent->Admits("203.0.113.9"); }));
  EXPECT_FALSE(agent->Admits("203.0.113.7"));
  const std::string id = request.ports[0].grant_id;
  EXPECT_TRUE(
      Eventually([&] { return agent->Get(id).end > clock_.Read().wall + absl::Minutes(80); }));
}

TEST_F(AttachTest, AnExtensionThatTheAgentRefusesLeavesTheEndAndComesBackAsTheReason) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  // The agent allows two hours, the policy three.
  ASSERT_TRUE(access_->ExtendRequest(owner_, request.id, absl::Minutes(90)).ok());
  EXPECT_TRUE(Becomes(request, PortStatus::kInitiated));
  EXPECT_THAT(PortOf(request).detail, HasSubstr("2h"));
  EXPECT_LT(*PortOf(request).end, clock_.Read().wall + absl::Minutes(61));
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
}

// What one grant waits for says nothing about the others.
TEST_F(AttachTest, AMoveIsConfirmedWhileAnotherGrantOfTheVmWaits) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent({.max_live_grants = 1});
  PutPolicy();
  const Request moved = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(moved, PortStatus::kInitiated));
  const Request waiting = Ask("203.0.113.8", absl::Hours(1), 3389);
  ASSERT_TRUE(Eventually([&] { return !agent->state().problem.empty(); }));
  ASSERT_TRUE(
      access_->MoveRequest(owner_, moved.id, {.prefixes = {*Prefix::Parse("203.0.113.9")}}).ok());
  EXPECT_TRUE(Becomes(moved, PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.9"));
  EXPECT_EQ(PortOf(waiting).status, PortStatus::kInitiating);
}

TEST_F(AttachTest, AMoveThatTheAgentRefusesComesBackAsTheReason) {
  const std::unique_ptr<TestAgent> agent =
      AttachedAgent({.allowed_sources = {*Prefix::Parse("203.0.113.0/24")}});
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  agent->Use("203.0.113.7", 7);
  ASSERT_TRUE(
      access_->MoveRequest(owner_, request.id, {.prefixes = {*Prefix::Parse("198.51.100.1")}})
          .ok());
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
  EXPECT_EQ(PortOf(request).reason, EndReason::kRefusedByAgent);
  EXPECT_THAT(PortOf(request).detail, HasSubstr("198.51.100.1"));
  EXPECT_EQ(PortOf(request).usage.packets, 7);
  EXPECT_FALSE(agent->Admits("203.0.113.7"));
}

// A grant that the VM has no room for keeps no other waiting, above all not its end.
TEST_F(AttachTest, WhatCannotBeDoneYetKeepsNothingElseWaiting) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent({.max_live_grants = 1});
  PutPolicy();
  const Request first = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(first, PortStatus::kInitiated));
  const Request second = Ask("203.0.113.7", absl::Hours(1), 3389);
  ASSERT_TRUE(Eventually([&] {
    return agent->state().problem.find(second.ports[0].grant_id) != std::string::npos;
  })) << agent->state().problem;
  EXPECT_EQ(PortOf(second).status, PortStatus::kInitiating);
  ASSERT_TRUE(access_->EndRequest(owner_, first.id, "done").ok());
  EXPECT_TRUE(Eventually([&] { return !agent->Admits("203.0.113.7"); }));
  EXPECT_TRUE(Becomes(second, PortStatus::kInitiated));
  EXPECT_TRUE(Eventually([&] { return agent->state().problem.empty(); })) << agent->state().problem;
}

TEST_F(AttachTest, AClockThatIsAheadShortensAndOneThatIsBehindLengthensNothing) {
  const auto left = [this](absl::Duration ahead, absl::Duration asked) {
    const std::unique_ptr<TestAgent> agent = AttachedAgent({.clock_ahead = ahead});
    PutPolicy();
    const Request request = Ask("203.0.113.7", asked);
    EXPECT_TRUE(Eventually([&] { return PortOf(request).status != PortStatus::kInitiating; }));
    EXPECT_LT(absl::AbsDuration(access_->GetVm(owner_, Vm("web-1"))->clock_skew - ahead),
              absl::Seconds(20));
    if (PortOf(request).reason == EndReason::kRefusedByAgent) {
      EXPECT_THAT(PortOf(request).detail, HasSubstr("ahead of the controller's"));
      return absl::ZeroDuration();
    }
    return agent->Get(request.ports[0].grant_id).end - agent->Now();
  };
  const absl::Duration shortened = left(absl::Minutes(30), absl::Hours(1));
  EXPECT_GT(shortened, absl::Minutes(29));
  EXPECT_LE(shortened, absl::Minutes(30));
  EXPECT_EQ(left(absl::Hours(2), absl::Hours(1)), absl::ZeroDuration());
  const absl::Duration whole = left(-absl::Hours(1), absl::Hours(1));
  EXPECT_GT(whole, absl::Minutes(59));
  EXPECT_LE(whole, absl::Hours(1));
}

// Two thirds of a certificate that is short-lived are over as soon as it is made:
// it begins a while ago, for clocks that are behind.
TEST_F(AttachTest, TheCertificateIsRenewedByItself) {
  const auto issued = [&] {
    const AuditQuery query = {.operation = "Postern/virtualMachines/certificate"};
    return access_->ReadAudit(owner_, query, 1000)->size();
  };
  server_.reset();
  IssueFor(absl::Minutes(1));
  StartServer();
  const std::unique_ptr<TestAgent> agent = Agent(Token("web-1"));
  ASSERT_TRUE(Eventually([&] { return issued() >= 1; })) << agent->state().problem;
  server_.reset();
  const size_t before = issued();
  IssueFor(absl::Hours(720));
  StartServer();
  EXPECT_TRUE(Eventually([&] { return issued() > before; })) << agent->state().problem;
  EXPECT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
}

TEST_F(AttachTest, AWrongTokenLetsNobodyInAndIsSaid) {
  const std::unique_ptr<TestAgent> agent = Agent("postern-join-wrong");
  EXPECT_TRUE(Eventually([&] {
    return agent->state().problem.find("join token") != std::string::npos;
  })) << agent->state().problem;
  EXPECT_FALSE(agent->state().attached);
}

TEST_F(AttachTest, WhoeverIsNotSignedByTheAuthorityIsNotSpokenTo) {
  const TemporaryDirectory elsewhere;
  const absl::StatusOr<std::unique_ptr<Issuer>> other = Issuer::Open(
      {.directory = elsewhere.Path(""), .lifetime = absl::Hours(1), .names = {"127.0.0.1"}},
      absl::Now());
  ASSERT_TRUE(other.ok()) << other.status();
  const std::string token = Token("web-1");
  const TestAgent agent({.address = address(), .ca = (*other)->authorities(), .token = token});
  EXPECT_TRUE(Eventually([&] {
    return agent.state().problem.find("asking for this VM's certificate") != std::string::npos;
  })) << agent.state().problem;
  // Nobody has seen the token.
  EXPECT_TRUE(fleet_->Enroll(token, "web-1", "").ok());
}

TEST_F(AttachTest, AVmThatWasRemovedIsTurnedAway) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  ASSERT_EQ(access_->RemoveVm(owner_, Vm("web-1"), /*force=*/false), absl::OkStatus());
  EXPECT_TRUE(Eventually([&] {
    return agent->state().problem.find("put a new join token") != std::string::npos;
  })) << agent->state().problem;
  EXPECT_THAT(agent->state().problem, HasSubstr("not known"));
}

}  // namespace
}  // namespace postern::controller
