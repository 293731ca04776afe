// What happens to the gatekeeper and its grants without being asked for: starts,
// ends, restarts, reloads.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using LifecycleTest = GateTest;

TEST_F(LifecycleTest, ClosesTheGateAtTheStart) {
  ASSERT_TRUE(start_.ok()) << start_;
  ASSERT_TRUE(firewall_.table().has_value());
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_THAT(Kinds(), ElementsAre(AuditKind::kAgentStarted));
}

TEST_F(LifecycleTest, EndsAGrantAtItsEndAndRecordsIt) {
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

TEST_F(LifecycleTest, AnEndedGrantCanBeNeitherExtendedNorMoved) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  // The alarm has not rung yet.
  clock_.Advance(absl::Minutes(5));
  EXPECT_TRUE(absl::IsFailedPrecondition(Extend(1, absl::Minutes(1)).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Move(1, "203.0.113.8").status()));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(LifecycleTest, OnlyAResetGrantEndsSessionsAtItsEnd) {
  ASSERT_TRUE(Create(1, "203.0.113.1", absl::Minutes(1), OnExpiry::kKeep).ok());
  ASSERT_TRUE(Create(2, "203.0.113.2", absl::Minutes(1), OnExpiry::kCut).ok());
  ASSERT_TRUE(Create(3, "203.0.113.3", absl::Minutes(1), OnExpiry::kReset).ok());
  Pass(absl::Minutes(1));
  ASSERT_THAT(sessions_.calls, SizeIs(1));
  ASSERT_THAT(sessions_.calls[0], SizeIs(1));
  EXPECT_THAT(sessions_.calls[0][0].keys, ElementsAre(Key("203.0.113.3", 22)));
  EXPECT_EQ(sessions_.calls[0][0].admission, Admission::kCut);
}

// Their packets do not pass; another try would come to the same.
TEST_F(LifecycleTest, SessionsWhoseSocketsCannotBeDestroyedAreEndedOnce) {
  ASSERT_TRUE(Create(1, "203.0.113.1", absl::Hours(1)).ok());
  ASSERT_TRUE(Create(2, "203.0.113.2", absl::Hours(1)).ok());
  sessions_.Fail(absl::UnimplementedError("their sockets stay"));
  ASSERT_TRUE(Revoke(1).ok());
  for (int i = 0; i < 5; ++i) Pass(absl::Seconds(1));
  EXPECT_THAT(sessions_.calls, SizeIs(1));
  EXPECT_FALSE(store_.grants().at(Id(1)).sessions_pending);
  ASSERT_TRUE(Revoke(2).ok());
  EXPECT_THAT(sessions_.calls, SizeIs(2));
  // Told once in the log, and in each status.
  EXPECT_THAT(reported_, SizeIs(1));
  EXPECT_THAT(gatekeeper_->Status()->warnings, ElementsAre("their sockets stay"));
}

TEST_F(LifecycleTest, SessionsThatCouldNotBeEndedAreTriedAgain) {
  ASSERT_TRUE(Create(1, "203.0.113.1", absl::Hours(1)).ok());
  sessions_.Fail(absl::UnavailableError("no answer"));
  ASSERT_TRUE(Revoke(1).ok());
  Pass(absl::Seconds(1));
  EXPECT_THAT(sessions_.calls, SizeIs(2));
  EXPECT_TRUE(store_.grants().at(Id(1)).sessions_pending);
}

TEST_F(LifecycleTest, TenThousandGrantsThatEndTogetherEndTogether) {
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
  // In parts, between which whoever waits has their turn.
  Pass(absl::Hours(1));
  EXPECT_FALSE(Admits("10.0.0.1"));
  EXPECT_FALSE(Admits("10.0.39.16"));
  EXPECT_LE(*gatekeeper_->NextAlarm(), clock_.Read().boot);
  Pass(absl::ZeroDuration());
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
  EXPECT_EQ(store_.commits(), stored + 2);
}

// What is not recorded yet has ended all the same.
TEST_F(LifecycleTest, OfManyThatEndTogetherNoneIsTakenForLive) {
  std::vector<Change> changes;
  for (int id = 1; id <= 10'000; ++id) changes.emplace_back(CreateGrant{Request(id)});
  for (const auto& answer : DoAll(std::move(changes))) ASSERT_TRUE(answer.ok());
  clock_.Advance(absl::Hours(1));
  const auto answers =
      DoAll({ExtendGrant{Id(9'000), absl::Minutes(1)}, CreateGrant{Request(10'001)}});
  EXPECT_TRUE(absl::IsFailedPrecondition(answers[0].status())) << answers[0].status();
  EXPECT_TRUE(answers[1].ok()) << answers[1].status();
  EXPECT_GT(gatekeeper_->live_grants(), 1U);
  EXPECT_LE(*gatekeeper_->NextAlarm(), clock_.Read().boot);
  EXPECT_EQ(gatekeeper_->Get(Id(9'999))->state, GrantState::kExpired);
  ASSERT_TRUE(Revoke(10'001).ok());
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(LifecycleTest, EndsThatCannotBeRecordedAreTriedAgain) {
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

TEST_F(LifecycleTest, CountsUseUpToTheEnd) {
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

TEST_F(LifecycleTest, ARestartKeepsGrantsToTheirOwnEnds) {
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

TEST_F(LifecycleTest, AWallClockStepMovesNoEndAcrossARestart) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(10)).ok());
  clock_.StepWall(-absl::Hours(5));
  Restart();
  Pass(absl::Minutes(10));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(LifecycleTest, AResetGrantThatEndedWhileTheDaemonWasDownLosesItsSessions) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(1), OnExpiry::kReset).ok());
  clock_.Advance(absl::Minutes(1));
  Restart();
  ASSERT_THAT(sessions_.calls, SizeIs(1));
  EXPECT_THAT(sessions_.calls[0][0].keys, ElementsAre(Key("203.0.113.7", 22)));
}

// The daemon dies after a revoke is durable, and before its sessions are ended.
class PendingSessionsTest : public GateTest {
 protected:
  void RevokeAndDie(int id, bool keep_sessions = false) {
    sessions_.Fail(absl::UnavailableError("killed"));
    ASSERT_TRUE(Revoke(id, keep_sessions).ok());
    sessions_.Fail(absl::OkStatus());
    sessions_.calls.clear();
  }
};

TEST_F(PendingSessionsTest, AreEndedAtTheNextStart) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  sessions_.live = {SessionFrom("203.0.113.7"), SessionFrom("198.51.100.1")};
  RevokeAndDie(1);
  Restart();
  EXPECT_THAT(sessions_.live, ElementsAre(SessionFrom("198.51.100.1")));
  // And once.
  Pass(absl::Seconds(1));
  sessions_.calls.clear();
  Restart();
  EXPECT_THAT(sessions_.calls, IsEmpty());
}

TEST_F(PendingSessionsTest, AreTriedAgainWithoutARestart) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  sessions_.live = {SessionFrom("203.0.113.7")};
  RevokeAndDie(1);
  ASSERT_TRUE(gatekeeper_->NextAlarm().has_value());
  Pass(absl::Seconds(1));
  EXPECT_THAT(sessions_.live, IsEmpty());
  Pass(absl::Seconds(1));
  EXPECT_FALSE(store_.grants().at(Id(1)).sessions_pending);
}

TEST_F(PendingSessionsTest, AreEndedAfterAResetGrantsEndToo) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(1), OnExpiry::kReset).ok());
  sessions_.live = {SessionFrom("203.0.113.7")};
  sessions_.Fail(absl::UnavailableError("killed"));
  Pass(absl::Minutes(1));
  sessions_.Fail(absl::OkStatus());
  Restart();
  EXPECT_THAT(sessions_.live, IsEmpty());
}

TEST_F(PendingSessionsTest, StayWhereSomethingElseAdmitsThem) {
  options_.gate.always_allow = {P("198.51.100.0/24")};
  Restart();
  ASSERT_TRUE(Create(1, "203.0.113.0/24", absl::Hours(1)).ok());
  ASSERT_TRUE(Create(2, "203.0.113.7", absl::Hours(1)).ok());
  ASSERT_TRUE(Create(3, "198.51.100.1", absl::Hours(1)).ok());
  const std::set<Flow> live = {SessionFrom("203.0.113.7"), SessionFrom("198.51.100.1")};
  sessions_.live = live;
  RevokeAndDie(1);
  RevokeAndDie(3);
  Restart();
  EXPECT_THAT(sessions_.calls, SizeIs(1));
  EXPECT_EQ(sessions_.live, live);
}

TEST_F(PendingSessionsTest, StayWhereTheRevokeSaysSo) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  sessions_.live = {SessionFrom("203.0.113.7")};
  RevokeAndDie(1, /*keep_sessions=*/true);
  Restart();
  EXPECT_THAT(sessions_.calls, IsEmpty());
  EXPECT_THAT(sessions_.live, SizeIs(1));
}

TEST_F(PendingSessionsTest, OfARevokeThatWasDoneAreForgottenBeforeAnybodyElseIsLetIn) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_TRUE(store_.grants().at(Id(1)).sessions_pending);
  ASSERT_TRUE(Create(2, "203.0.113.7", absl::Minutes(1)).ok());
  EXPECT_FALSE(store_.grants().at(Id(1)).sessions_pending);
  // Or within a second.
  ASSERT_TRUE(Revoke(2).ok());
  ASSERT_TRUE(gatekeeper_->NextAlarm().has_value());
  Pass(absl::Seconds(1));
  EXPECT_FALSE(store_.grants().at(Id(2)).sessions_pending);
}

TEST_F(LifecycleTest, ADaemonThatCannotStartLeavesAGate) {
  // One that stands may hold live grants.
  ASSERT_TRUE(Create(1).ok());
  ASSERT_TRUE(CloseGate(firewall_, sessions_, options_.gate).ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  firewall_.DeleteTable();
  ASSERT_TRUE(CloseGate(firewall_, sessions_, options_.gate).ok());
  EXPECT_TRUE(firewall_.table().has_value());
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(LifecycleTest, NewOptionsKeepLiveGrants) {
  ASSERT_TRUE(Create(1).ok());
  options_.gate.ports = {22, 8022};
  options_.limits.guarded_ports = {22, 8022};
  options_.limits.max_duration = absl::Minutes(1);
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Create(2).status()));
}

TEST_F(LifecycleTest, OptionsThatTheKernelRefusesStayOut) {
  options_.gate.ports = {8022};
  options_.limits.guarded_ports = {8022};
  firewall_.FailCommits(absl::UnavailableError("no memory"));
  EXPECT_FALSE(gatekeeper_->Reconfigure(options_, "agent").ok());
  firewall_.FailCommits(absl::OkStatus());
  EXPECT_TRUE(Create(1).ok());
}

TEST_F(LifecycleTest, AReloadThatCannotBeRecordedIsInForceAllTheSame) {
  options_.gate.ports = {22};
  options_.limits.guarded_ports = {22};
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  EXPECT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  EXPECT_THAT(reported_, SizeIs(1));
  EXPECT_TRUE(gatekeeper_->Check(A("203.0.113.7"), Protocol::kTcp, 3389).allowed);
}

TEST_F(LifecycleTest, EnforcingAfterObservingAdmitsWhatIsLive) {
  options_.gate.enforce = false;
  Restart();
  const Flow live = {
      .remote = A("198.51.100.1"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  sessions_.live = {live};
  options_.gate.enforce = true;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(live));
}

TEST_F(LifecycleTest, AListShowsTheUseThatAnEarlierTableCounted) {
  ASSERT_TRUE(Create(1).ok());
  const AccessKey key = Key("203.0.113.7", 22);
  firewall_.Use(SetOf(key, Admission::kKeep), key, {.packets = 2, .bytes = 120});
  options_.gate.always_allow = {P("192.0.2.0/24")};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  const std::vector<Grant> listed = *gatekeeper_->List(0, 10, false);
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_EQ(listed[0].usage.packets, 2U);
}

}  // namespace
}  // namespace postern
