#include "agent/enforcer/gatekeeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using GatekeeperTest = GateTest;

TEST_F(GatekeeperTest, ClosesTheGateAtTheStart) {
  ASSERT_TRUE(start_.ok()) << start_;
  ASSERT_TRUE(firewall_.table().has_value());
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_THAT(Kinds(), ElementsAre(AuditKind::kAgentStarted));
}

TEST_F(GatekeeperTest, AGrantIsDurableAndProgrammedBeforeItIsAnswered) {
  bool answered = false;
  std::vector<Command> commands;
  commands.push_back({.request = CreateGrant{Request(1)},
                      .actor = "tester",
                      .done = [&](absl::StatusOr<Grant> grant) {
                        ASSERT_TRUE(grant.ok()) << grant.status();
                        EXPECT_TRUE(store_.grants().contains(Id(1)));
                        EXPECT_TRUE(Admits("203.0.113.7"));
                        answered = true;
                      }});
  gatekeeper_->Execute(std::move(commands));
  EXPECT_TRUE(answered);
  EXPECT_FALSE(Admits("203.0.113.8"));
  EXPECT_FALSE(Admits("203.0.113.7", 3389));
}

TEST_F(GatekeeperTest, CommandsThatWaitTogetherAreOneTransactionAndOneBatch) {
  const int stored = store_.commits();
  const int programmed = firewall_.commits();
  std::vector<Change> changes;
  for (int id = 1; id <= 20; ++id) changes.emplace_back(CreateGrant{Request(id)});
  for (const auto& answer : DoAll(changes)) EXPECT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(store_.commits(), stored + 1);
  EXPECT_EQ(firewall_.commits(), programmed + 1);
}

TEST_F(GatekeeperTest, ARepeatAnswersTheSameAndChangesNothing) {
  const absl::StatusOr<Grant> first = Create(1);
  clock_.Advance(absl::Minutes(1));
  const int stored = store_.commits();
  const absl::StatusOr<Grant> repeat = Create(1);
  ASSERT_TRUE(repeat.ok()) << repeat.status();
  EXPECT_EQ(*repeat, *first);
  EXPECT_EQ(store_.commits(), stored);
}

TEST_F(GatekeeperTest, ARepeatInTheSameBatchIsAnsweredAfterTheFirstIsDurable) {
  const auto answers = DoAll({CreateGrant{Request(1)}, CreateGrant{Request(1)}});
  ASSERT_TRUE(answers[0].ok());
  ASSERT_TRUE(answers[1].ok()) << answers[1].status();
  EXPECT_EQ(*answers[0], *answers[1]);
  store_.FailCommits(absl::UnavailableError("disk"));
  for (const auto& answer : DoAll({CreateGrant{Request(2)}, CreateGrant{Request(2)}})) {
    EXPECT_FALSE(answer.ok());
  }
}

TEST_F(GatekeeperTest, ARepeatAfterTheEndAnswersWithTheEndedGrant) {
  ASSERT_TRUE(Create(1).ok());
  ASSERT_TRUE(Revoke(1).ok());
  const absl::StatusOr<Grant> repeat = Create(1);
  ASSERT_TRUE(repeat.ok()) << repeat.status();
  EXPECT_EQ(repeat->state, GrantState::kRevoked);
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, AnIdWithOtherContentIsRefused) {
  ASSERT_TRUE(Create(1).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Create(1, "198.51.100.9", absl::Hours(1)).status()));
  EXPECT_FALSE(Admits("198.51.100.9"));
}

TEST_F(GatekeeperTest, ARefusalChangesNothing) {
  const int stored = store_.commits();
  const int programmed = firewall_.commits();
  EXPECT_TRUE(absl::IsFailedPrecondition(Create(1, "203.0.113.7", absl::Hours(4)).status()));
  EXPECT_TRUE(absl::IsNotFound(Extend(1, absl::Hours(1)).status()));
  EXPECT_TRUE(absl::IsNotFound(Move(1, "203.0.113.8").status()));
  EXPECT_TRUE(absl::IsNotFound(Revoke(1).status()));
  EXPECT_EQ(store_.commits(), stored);
  EXPECT_EQ(firewall_.commits(), programmed);
}

TEST_F(GatekeeperTest, EndsAGrantAtItsEndAndRecordsIt) {
  const absl::StatusOr<Grant> grant = Create(1, "203.0.113.7", absl::Minutes(5));
  Pass(absl::Minutes(5) - absl::Milliseconds(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Milliseconds(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
  const Grant ended = *gatekeeper_->Get(Id(1));
  EXPECT_EQ(ended.state, GrantState::kExpired);
  EXPECT_EQ(ended.end, grant->end);
  EXPECT_EQ(announced_.back().kind, AuditKind::kGrantExpired);
  // The set goes a while after its last element, and then nothing is due.
  Pass(absl::Minutes(1));
  EXPECT_THAT(firewall_.table()->sets, IsEmpty());
  EXPECT_EQ(gatekeeper_->NextAlarm(), std::nullopt);
}

TEST_F(GatekeeperTest, AnEndedGrantCanBeNeitherExtendedNorMoved) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  // The alarm has not rung yet.
  clock_.Advance(absl::Minutes(5));
  EXPECT_TRUE(absl::IsFailedPrecondition(Extend(1, absl::Minutes(1)).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Move(1, "203.0.113.8").status()));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, ExtendsMovesAndRevokes) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  ASSERT_TRUE(Extend(1, absl::Minutes(5)).ok());
  Pass(absl::Minutes(7));
  EXPECT_TRUE(Admits("203.0.113.7"));
  ASSERT_TRUE(Move(1, "198.51.100.9").ok());
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_TRUE(Admits("198.51.100.9"));
  const absl::StatusOr<Grant> revoked = Revoke(1);
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_FALSE(Admits("198.51.100.9"));
  EXPECT_EQ(revoked->state, GrantState::kRevoked);
  EXPECT_THAT(revoked->end_cause, HasSubstr("tester: no longer needed"));
  EXPECT_THAT(Kinds(), ElementsAre(AuditKind::kAgentStarted, AuditKind::kGrantCreated,
                                   AuditKind::kGrantExtended, AuditKind::kGrantMoved,
                                   AuditKind::kGrantRevoked));
}

TEST_F(GatekeeperTest, OneOfTwoGrantsOnOneKeyLeavesTheOtherAsItAsked) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  ASSERT_TRUE(Create(2, "203.0.113.7", absl::Minutes(10)).ok());
  ASSERT_TRUE(Revoke(2).ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Minutes(5));
  EXPECT_FALSE(Admits("203.0.113.7"));

  ASSERT_TRUE(Create(3, "203.0.113.7", absl::Minutes(5)).ok());
  ASSERT_TRUE(Create(4, "203.0.113.7", absl::Minutes(10)).ok());
  ASSERT_TRUE(Revoke(3).ok());
  Pass(absl::Minutes(6));
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, NestedPrefixesAreIndependent) {
  ASSERT_TRUE(Create(1, "203.0.113.0/24", absl::Minutes(5)).ok());
  ASSERT_TRUE(Create(2, "203.0.113.7", absl::Minutes(10)).ok());
  ASSERT_TRUE(Revoke(2).ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  ASSERT_TRUE(Create(3, "203.0.113.7", absl::Minutes(10)).ok());
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("203.0.113.8"));
}

TEST_F(GatekeeperTest, ARevokeEndsSessionsUnlessTheyAreToBeKept) {
  ASSERT_TRUE(Create(1).ok());
  ASSERT_TRUE(Create(2).ok());
  ASSERT_TRUE(Revoke(1, /*keep_sessions=*/true).ok());
  EXPECT_THAT(sessions_.calls, IsEmpty());
  ASSERT_TRUE(Revoke(2).ok());
  ASSERT_THAT(sessions_.calls, SizeIs(1));
  EXPECT_THAT(sessions_.calls[0][0].keys, ElementsAre(Key("203.0.113.7", 22)));
}

TEST_F(GatekeeperTest, OnlyAResetGrantEndsSessionsAtItsEnd) {
  ASSERT_TRUE(Create(1, "203.0.113.1", absl::Minutes(1), OnExpiry::kKeep).ok());
  ASSERT_TRUE(Create(2, "203.0.113.2", absl::Minutes(1), OnExpiry::kCut).ok());
  ASSERT_TRUE(Create(3, "203.0.113.3", absl::Minutes(1), OnExpiry::kReset).ok());
  Pass(absl::Minutes(1));
  ASSERT_THAT(sessions_.calls, SizeIs(1));
  ASSERT_THAT(sessions_.calls[0], SizeIs(1));
  EXPECT_THAT(sessions_.calls[0][0].keys, ElementsAre(Key("203.0.113.3", 22)));
  EXPECT_EQ(sessions_.calls[0][0].admission, Admission::kCut);
}

TEST_F(GatekeeperTest, ObserveEndsNoSessions) {
  options_.gate.enforce = false;
  Restart();
  ASSERT_TRUE(Create(1).ok());
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_THAT(sessions_.calls, IsEmpty());
}

TEST_F(GatekeeperTest, AFullDiskRefusesAndLeavesTheKernelAlone) {
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  const absl::Status status = Create(1).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_FALSE(Admits("203.0.113.7"));
  store_.FailCommits(absl::OkStatus());
  EXPECT_TRUE(Create(1).ok());
}

TEST_F(GatekeeperTest, AKernelRefusalLeavesNothing) {
  firewall_.FailCommits(absl::UnavailableError("add set keep4_32: errno 12"));
  const absl::Status status = Create(1).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("keep4_32"));
  // While it is not known what the kernel holds, nothing is taken back, and
  // nothing else is tried.
  EXPECT_TRUE(store_.grants().contains(Id(1)));
  EXPECT_TRUE(absl::IsUnavailable(Create(2).status()));
  EXPECT_FALSE(store_.grants().contains(Id(2)));
  firewall_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_FALSE(store_.grants().contains(Id(1)));
  EXPECT_EQ(store_.audit().back().kind, AuditKind::kGrantFailed);
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_TRUE(Create(1).ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, OneRefusedGrantDoesNotTakeTheOthersWithIt) {
  firewall_.RefuseSource(A("203.0.113.66"));
  GrantRequest refused = Request(2);
  refused.sources = {P("203.0.113.66")};
  const auto answers = DoAll({CreateGrant{Request(1)}, CreateGrant{refused},
                              ExtendGrant{Id(2), absl::Minutes(1)}, CreateGrant{Request(3)}});
  EXPECT_TRUE(answers[0].ok()) << answers[0].status();
  EXPECT_FALSE(answers[1].ok());
  EXPECT_FALSE(answers[2].ok());
  EXPECT_TRUE(answers[3].ok()) << answers[3].status();
  EXPECT_FALSE(store_.grants().contains(Id(2)));
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, ALostAcknowledgementDoesNotLeaveAnOpenDoor) {
  firewall_.LoseNextAck();
  EXPECT_FALSE(Create(1).ok());
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, ARestartKeepsGrantsToTheirOwnEnds) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(10)).ok());
  ASSERT_TRUE(Create(2, "203.0.113.8", absl::Minutes(2)).ok());
  clock_.Advance(absl::Minutes(4));
  Restart();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("203.0.113.8"));
  EXPECT_EQ(gatekeeper_->Get(Id(2))->state, GrantState::kExpired);
  Pass(absl::Minutes(6));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, AWallClockStepMovesNoEndAcrossARestart) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(10)).ok());
  clock_.StepWall(-absl::Hours(5));
  Restart();
  Pass(absl::Minutes(10));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, ADaemonThatCannotStartLeavesAGate) {
  // One that stands may hold live grants.
  ASSERT_TRUE(Create(1).ok());
  ASSERT_TRUE(CloseGate(firewall_, sessions_, options_.gate).ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  firewall_.DeleteTable();
  ASSERT_TRUE(CloseGate(firewall_, sessions_, options_.gate).ok());
  EXPECT_TRUE(firewall_.table().has_value());
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, AResetGrantThatEndedWhileTheDaemonWasDownLosesItsSessions) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(1), OnExpiry::kReset).ok());
  clock_.Advance(absl::Minutes(1));
  Restart();
  ASSERT_THAT(sessions_.calls, SizeIs(1));
  EXPECT_THAT(sessions_.calls[0][0].keys, ElementsAre(Key("203.0.113.7", 22)));
}

TEST_F(GatekeeperTest, AListShowsTheUseThatAnEarlierTableCounted) {
  ASSERT_TRUE(Create(1).ok());
  const AccessKey key = Key("203.0.113.7", 22);
  firewall_.Use(SetOf(key, Admission::kKeep), key, {.packets = 2, .bytes = 120});
  options_.gate.always_allow = {P("192.0.2.0/24")};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  const std::vector<Grant> listed = *gatekeeper_->List(0, 10, false);
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_EQ(listed[0].usage.packets, 2U);
}

TEST_F(GatekeeperTest, AReloadThatCannotBeRecordedIsInForceAllTheSame) {
  options_.gate.ports = {22};
  options_.limits.guarded_ports = {22};
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  EXPECT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  EXPECT_THAT(reported_, SizeIs(1));
  EXPECT_TRUE(gatekeeper_->Check(A("203.0.113.7"), Protocol::kTcp, 3389).allowed);
}

TEST_F(GatekeeperTest, ConnectionsOlderThanTheGateAreAdmittedAndThoseOnlyOnce) {
  const Flow older = {
      .remote = A("198.51.100.1"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  const Flow later = {
      .remote = A("198.51.100.2"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  firewall_.DeleteTable();
  sessions_.live = {older};
  Restart();
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older));
  // One that came through the gate is not older, and one that is gone is not
  // remembered.
  sessions_.live = {older, later};
  Restart();
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older));
  sessions_.live = {later};
  Restart();
  EXPECT_THAT(*firewall_.ReadOlderFlows(), IsEmpty());
}

TEST_F(GatekeeperTest, EnforcingAfterObservingAdmitsWhatIsLive) {
  options_.gate.enforce = false;
  Restart();
  const Flow live = {
      .remote = A("198.51.100.1"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  sessions_.live = {live};
  options_.gate.enforce = true;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(live));
}

TEST_F(GatekeeperTest, NewOptionsKeepLiveGrants) {
  ASSERT_TRUE(Create(1).ok());
  options_.gate.ports = {22, 8022};
  options_.limits.guarded_ports = {22, 8022};
  options_.limits.max_duration = absl::Minutes(1);
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Create(2).status()));
}

TEST_F(GatekeeperTest, OptionsThatTheKernelRefusesStayOut) {
  options_.gate.ports = {8022};
  options_.limits.guarded_ports = {8022};
  firewall_.FailCommits(absl::UnavailableError("no memory"));
  EXPECT_FALSE(gatekeeper_->Reconfigure(options_, "agent").ok());
  firewall_.FailCommits(absl::OkStatus());
  EXPECT_TRUE(Create(1).ok());
}

TEST_F(GatekeeperTest, CountsUseUpToTheEnd) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  const AccessKey key = Key("203.0.113.7", 22);
  const SetId set = SetOf(key, Admission::kKeep);
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.first_used, std::nullopt);
  firewall_.Use(set, key, {.packets = 2, .bytes = 120});
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 2U);
  // A restart makes the kernel count from zero.
  Restart();
  firewall_.Use(set, key, {.packets = 1, .bytes = 60});
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 3U);

  clock_.Advance(absl::Minutes(5) - absl::Milliseconds(10));
  EXPECT_LE(*gatekeeper_->NextAlarm(), clock_.Read().boot);
  gatekeeper_->OnAlarm();
  Pass(absl::Milliseconds(10));
  const Grant ended = *gatekeeper_->Get(Id(1));
  EXPECT_EQ(ended.state, GrantState::kExpired);
  EXPECT_EQ(ended.usage.packets, 3U);
  EXPECT_EQ(ended.usage.bytes, 180U);
  EXPECT_TRUE(ended.usage.first_used.has_value());
}

TEST_F(GatekeeperTest, EndsThatCannotBeRecordedAreTriedAgain) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  Pass(absl::Minutes(5));
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_THAT(reported_, SizeIs(1));
  ASSERT_TRUE(gatekeeper_->NextAlarm().has_value());
  EXPECT_GT(*gatekeeper_->NextAlarm(), clock_.Read().boot);
  store_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kExpired);
}

TEST_F(GatekeeperTest, ChecksWhatAPacketWouldMeet) {
  ASSERT_TRUE(Create(1).ok());
  const auto check = [&](absl::string_view from, uint16_t port) {
    return gatekeeper_->Check(A(from), Protocol::kTcp, port);
  };
  EXPECT_TRUE(check("203.0.113.7", 22).allowed);
  EXPECT_EQ(check("203.0.113.7", 22).grant_id, Id(1));
  EXPECT_FALSE(check("203.0.113.8", 22).allowed);
  EXPECT_FALSE(check("203.0.113.7", 3389).allowed);
  EXPECT_THAT(check("203.0.113.8", 22).reason, HasSubstr("no live grant covers 203.0.113.8"));
  EXPECT_TRUE(check("203.0.113.8", 80).allowed);
  clock_.Advance(absl::Hours(1));
  EXPECT_FALSE(check("203.0.113.7", 22).allowed);
}

TEST_F(GatekeeperTest, TenThousandGrantsThatEndTogetherEndTogether) {
  std::vector<Change> changes;
  for (int id = 1; id <= 10'000; ++id) {
    GrantRequest request = Request(id);
    request.sources = {Prefix::Host(A(absl::StrFormat("10.0.%d.%d", id / 256, id % 256)))};
    changes.emplace_back(CreateGrant{request});
  }
  for (const auto& answer : DoAll(std::move(changes))) ASSERT_TRUE(answer.ok());
  EXPECT_EQ(gatekeeper_->live_grants(), 10'000U);
  EXPECT_TRUE(absl::IsResourceExhausted(Create(10'001).status()));
  const int stored = store_.commits();
  Pass(absl::Hours(1));
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
  EXPECT_EQ(store_.commits(), stored + 1);
}

}  // namespace
}  // namespace postern
