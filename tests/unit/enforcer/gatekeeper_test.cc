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

TEST_F(GatekeeperTest, ARepeatOfARefusedChangeIsRefusedWhereAnEarlierOneOfItsGrantIsNot) {
  firewall_.RefuseSource(A("203.0.113.66"));
  const MoveGrant refused{.id = Id(1), .sources = {P("203.0.113.66/32")}};
  const auto answers = DoAll({CreateGrant{Request(1)}, refused, refused});
  EXPECT_TRUE(answers[0].ok());
  EXPECT_FALSE(answers[1].ok());
  EXPECT_FALSE(answers[2].ok());
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

TEST_F(GatekeeperTest, WhatANewerGrantReplacesIsSuperseded) {
  ASSERT_TRUE(Create(1).ok());
  const absl::StatusOr<Grant> gone = Do(RevokeGrant{.id = Id(1), .superseded = true});
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_EQ(gone->state, GrantState::kSuperseded);
  EXPECT_EQ(gone->end_cause, "superseded by tester");
  Restart();
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kSuperseded);
  EXPECT_FALSE(Admits("203.0.113.7"));
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

// Whoever closes a door does not have to ask twice because another asked for more.
TEST_F(GatekeeperTest, ARevokeIsNotRefusedWithTheChangeBeforeIt) {
  firewall_.RefuseSource(A("203.0.113.66"));
  ASSERT_TRUE(Create(1).ok());
  const MoveGrant refused{.id = Id(1), .sources = {P("203.0.113.66/32")}};
  // With it the batch is refused, and each is tried alone.
  GrantRequest other = Request(3);
  other.sources = refused.sources;
  const auto answers =
      DoAll({refused, RevokeGrant{.id = Id(1)}, CreateGrant{Request(2)}, CreateGrant{other}});
  EXPECT_FALSE(answers[0].ok());
  EXPECT_FALSE(answers[3].ok());
  ASSERT_TRUE(answers[1].ok()) << answers[1].status();
  EXPECT_EQ(answers[1]->state, GrantState::kRevoked);
  EXPECT_THAT(answers[1]->sources, ElementsAre(P("203.0.113.7/32")));
  EXPECT_TRUE(answers[2].ok()) << answers[2].status();
  EXPECT_EQ(*store_.FindGrant(Id(1)).value(), *answers[1]);
  EXPECT_EQ(announced_.back().kind, AuditKind::kGrantRevoked);
  Restart();
  ASSERT_TRUE(Revoke(2).ok());
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(GatekeeperTest, ARevokeIsNotRefusedWithWhatTheDiskDidNotTakeBeforeIt) {
  ASSERT_TRUE(Create(1).ok());
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  const auto answers = DoAll({ExtendGrant{Id(1), absl::Minutes(1)}, RevokeGrant{.id = Id(1)},
                              ExtendGrant{Id(1), absl::Minutes(1)}});
  EXPECT_TRUE(absl::IsResourceExhausted(answers[0].status())) << answers[0].status();
  EXPECT_TRUE(answers[1].ok()) << answers[1].status();
  EXPECT_TRUE(absl::IsFailedPrecondition(answers[2].status())) << answers[2].status();
  EXPECT_FALSE(Admits("203.0.113.7"));
  store_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_.FindGrant(Id(1)).value()->state, GrantState::kRevoked);
}

TEST_F(GatekeeperTest, WhatFollowsAGrantThatIsNotMadeFindsNone) {
  firewall_.RefuseSource(A("203.0.113.7"));
  const auto answers = DoAll(
      {CreateGrant{Request(1)}, ExtendGrant{Id(1), absl::Minutes(1)}, CreateGrant{Request(1)}});
  EXPECT_FALSE(answers[0].ok());
  EXPECT_TRUE(absl::IsNotFound(answers[1].status())) << answers[1].status();
  EXPECT_FALSE(answers[2].ok());
  EXPECT_THAT(store_.grants(), IsEmpty());
}

TEST_F(GatekeeperTest, ALostAcknowledgementDoesNotLeaveAnOpenDoor) {
  firewall_.LoseNextAck();
  EXPECT_FALSE(Create(1).ok());
  EXPECT_FALSE(Admits("203.0.113.7"));
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

}  // namespace
}  // namespace postern
