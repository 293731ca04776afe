#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/enforcer/gatekeeper.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class StandingTest : public GateTest {
 protected:
  // Where agent.yaml says observe.
  void Observe() {
    options_.gate.enforce = false;
    firewall_.DeleteTable();
    Restart();
  }

  bool Enforces() const { return firewall_.Drops(); }
};

TEST_F(StandingTest, ALockdownEndsAllGrantsAndRefusesNewOnes) {
  ASSERT_TRUE(Create(1).ok());
  ASSERT_TRUE(Create(2, "198.51.100.9", absl::Hours(1)).ok());
  const absl::StatusOr<size_t> ended = gatekeeper_->LockDown("a break-in", "alice");
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(*ended, 2U);
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kRevoked);
  const absl::Status refused = Create(3).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("a break-in"));
  EXPECT_THAT(Kinds(), Contains(AuditKind::kLockedDown));
}

// The extension is refused while it is not known what the kernel holds, and taken
// back as soon as that is: not over the revoke that came in between.
TEST_F(StandingTest, ALockdownIsNotUndoneByWhatWasRefusedBefore) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.FailCommits(absl::UnavailableError("refused"));
  ASSERT_FALSE(Extend(1, absl::Minutes(1)).ok());
  firewall_.FailCommits(absl::OkStatus());
  ASSERT_TRUE(gatekeeper_->LockDown("", "alice").ok());
  EXPECT_EQ(store_.grants().at(Id(1)).state, GrantState::kRevoked);
  Restart();
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
}

TEST_F(StandingTest, ARepeatedLockdownEndsWhatTheFirstOneCouldNot) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.FailCommits(absl::UnavailableError("refused"));
  EXPECT_EQ(gatekeeper_->LockDown("", "alice").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(gatekeeper_->live_grants(), 1U);
  firewall_.FailCommits(absl::OkStatus());
  EXPECT_EQ(gatekeeper_->LockDown("", "alice").value_or(0), 1U);
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
  EXPECT_EQ(gatekeeper_->LockDown("", "alice").value_or(9), 0U);
}

// The kernel may hold a grant that it did not acknowledge, and so does the store
// until it is known.
TEST_F(StandingTest, ALockdownIsNotDoneWhileTheKernelIsInDoubt) {
  firewall_.FailCommits(absl::UnavailableError("refused"));
  ASSERT_FALSE(Create(1).ok());
  EXPECT_EQ(gatekeeper_->LockDown("", "alice").status().code(), absl::StatusCode::kUnavailable);
  firewall_.FailCommits(absl::OkStatus());
  Restart();
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
  EXPECT_EQ(store_.grants().at(Id(1)).state, GrantState::kRevoked);
}

TEST_F(StandingTest, AStartEndsWhatALockdownCouldNot) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.FailCommits(absl::UnavailableError("refused"));
  ASSERT_FALSE(gatekeeper_->LockDown("", "alice").ok());
  firewall_.FailCommits(absl::OkStatus());
  Restart();
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kRevoked);
}

TEST_F(StandingTest, ALockdownOutlivesTheDaemonUntilItIsLifted) {
  ASSERT_TRUE(gatekeeper_->LockDown("", "alice").ok());
  Restart();
  EXPECT_FALSE(Create(1).ok());
  EXPECT_EQ(gatekeeper_->Status()->standing.lockdown->actor, "alice");
  ASSERT_TRUE(gatekeeper_->LiftLockdown("bob").ok());
  EXPECT_TRUE(Create(1).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(gatekeeper_->LiftLockdown("bob")));
}

TEST_F(StandingTest, ALockdownDoesNotWaitForTheDisk) {
  ASSERT_TRUE(Create(1).ok());
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  ASSERT_TRUE(gatekeeper_->LockDown("", "alice").ok());
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_FALSE(Create(2).ok());
  EXPECT_THAT(gatekeeper_->Status()->warnings, SizeIs(1));
  store_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_THAT(gatekeeper_->Status()->warnings, IsEmpty());
  Restart();
  EXPECT_TRUE(gatekeeper_->Status()->standing.lockdown.has_value());
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kRevoked);
}

TEST_F(StandingTest, ARevokeDoesNotWaitForTheDiskButAGrantDoes) {
  ASSERT_TRUE(Create(1).ok());
  store_.FailCommits(absl::ResourceExhaustedError("the disk is full"));
  const auto answers = DoAll({CreateGrant{Request(2)}, RevokeGrant{Id(1), false, "over"}});
  EXPECT_TRUE(absl::IsResourceExhausted(answers[0].status())) << answers[0].status();
  ASSERT_TRUE(answers[1].ok()) << answers[1].status();
  EXPECT_EQ(answers[1]->state, GrantState::kRevoked);
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kRevoked);
  EXPECT_THAT(*gatekeeper_->List(0, 10, /*include_ended=*/false), IsEmpty());
  store_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_.grants().at(Id(1)).state, GrantState::kRevoked);
  EXPECT_EQ(store_.audit().back().kind, AuditKind::kGrantRevoked);
}

TEST_F(StandingTest, AnArmedGateGoesBackToObserveWithoutAConfirmation) {
  Observe();
  EXPECT_FALSE(Enforces());
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  EXPECT_TRUE(Enforces());
  EXPECT_EQ(gatekeeper_->NextAlarm(), clock_.Read().boot + absl::Minutes(10));
  Pass(absl::Minutes(10));
  EXPECT_FALSE(Enforces());
  EXPECT_EQ(store_.audit().back().kind, AuditKind::kDisarmed);
  EXPECT_TRUE(absl::IsFailedPrecondition(gatekeeper_->Confirm("alice")));
}

// Nobody is there to do it: the kernel does.
TEST_F(StandingTest, AnArmedGateGoesBackWhileTheDaemonIsDead) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  ASSERT_TRUE(Create(1).ok());
  clock_.Advance(absl::Minutes(10) - absl::Milliseconds(1));
  EXPECT_TRUE(Enforces());
  EXPECT_FALSE(gatekeeper_->enforces_for_good());
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, AConfirmedGateStaysClosedWhileTheDaemonIsDead) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  ASSERT_TRUE(gatekeeper_->Confirm("alice").ok());
  EXPECT_TRUE(gatekeeper_->enforces_for_good());
  clock_.Advance(absl::Hours(1));
  EXPECT_TRUE(Enforces());
}

TEST_F(StandingTest, ARepairDoesNotLengthenTheTimeToConfirm) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Advance(absl::Minutes(9));
  firewall_.DeleteTable();
  TableChange change;
  change.what = {"flushed"};
  gatekeeper_->OnTableChanged(change);
  EXPECT_TRUE(Enforces());
  clock_.Advance(absl::Minutes(1));
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, ArmingAgainLengthensTheTimeToConfirm) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Advance(absl::Minutes(9));
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Advance(absl::Minutes(9));
  EXPECT_TRUE(Enforces());
}

TEST_F(StandingTest, AGateThatTheFileClosesMeanwhileStaysClosed) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  options_.gate.enforce = true;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "agent").ok());
  clock_.Advance(absl::Hours(1));
  EXPECT_TRUE(Enforces());
}

// The kernel's timeouts do not count the sleep.
TEST_F(StandingTest, ASleepDoesNotLengthenTheTimeToConfirm) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  const int commits = firewall_.commits();
  clock_.Sleep(absl::Minutes(5));
  gatekeeper_->OnClockChanged();
  EXPECT_GT(firewall_.commits(), commits);
}

TEST_F(StandingTest, AConfirmedGateStaysArmed) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  ASSERT_TRUE(gatekeeper_->Confirm("alice").ok());
  Pass(absl::Hours(1));
  EXPECT_TRUE(Enforces());
  Restart();
  EXPECT_TRUE(Enforces());
  ASSERT_TRUE(gatekeeper_->Disarm("alice").ok());
  EXPECT_FALSE(Enforces());
  Restart();
  EXPECT_FALSE(Enforces());
}

// Whoever reads the record sees that the gate was not closed.
TEST_F(StandingTest, AnOrderThatTheKernelRefusesIsTakenBackInTheRecord) {
  Observe();
  firewall_.FailCommits(absl::UnavailableError("refused"));
  ASSERT_FALSE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  ASSERT_GE(store_.audit().size(), 2U);
  const AuditEvent& order = store_.audit().end()[-2];
  const AuditEvent& back = store_.audit().end()[-1];
  EXPECT_EQ(order.kind, AuditKind::kArmed);
  EXPECT_EQ(back.kind, AuditKind::kDisarmed);
  EXPECT_EQ(back.actor, "alice");
  EXPECT_THAT(back.detail, HasSubstr("refused"));
}

TEST_F(StandingTest, AnArmedGateGoesBackAfterACrashAsWell) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Advance(absl::Minutes(4));
  Restart();
  EXPECT_TRUE(Enforces());
  Pass(absl::Minutes(6));
  EXPECT_FALSE(Enforces());

  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Advance(absl::Minutes(11));
  Restart();
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, AnArmedGateGoesBackAfterARebootAsWell) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Reboot(clock_.Read().wall + absl::Minutes(1));
  firewall_.DeleteTable();
  Restart();
  EXPECT_TRUE(Enforces());
  Pass(absl::Minutes(9));
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, AWrongClockAfterARebootDoesNotLengthenTheTimeToConfirm) {
  Observe();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Reboot(clock_.Read().wall - absl::Hours(24 * 365));
  firewall_.DeleteTable();
  Restart();
  Pass(absl::Minutes(10));
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, ThereIsNothingToArmWhereTheFileSaysEnforce) {
  EXPECT_TRUE(absl::IsFailedPrecondition(gatekeeper_->Arm(absl::Minutes(1), "alice").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(gatekeeper_->Confirm("alice")));
  EXPECT_TRUE(absl::IsFailedPrecondition(gatekeeper_->Disarm("alice")));
}

TEST_F(StandingTest, ArmingSaysWhoCouldNotComeBack) {
  Observe();
  ASSERT_TRUE(Create(1).ok());
  sessions_.live = {{A("203.0.113.7"), 50000, A("192.0.2.1"), 22},
                    {A("198.51.100.9"), 50001, A("192.0.2.1"), 22}};
  const auto exposed = gatekeeper_->Arm(absl::Minutes(10), "alice");
  ASSERT_TRUE(exposed.ok()) << exposed.status();
  ASSERT_THAT(*exposed, SizeIs(1));
  EXPECT_EQ(exposed->front().remote, A("198.51.100.9"));
}

TEST_F(StandingTest, WithANewLedgerWhatWasClosedStaysClosed) {
  Observe();
  // The daemon may have died right after it had set the damaged one aside.
  store_ = FakeStore();
  Restart("", /*enforced_before=*/true);
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_TRUE(Enforces());
  Restart();
  EXPECT_TRUE(Enforces());
  ASSERT_TRUE(gatekeeper_->Disarm("alice").ok());
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, AnArmingWhoseAnswerIsLostDoesNotStandInTheKernelEither) {
  Observe();
  firewall_.LoseNextAck();
  EXPECT_FALSE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  EXPECT_FALSE(gatekeeper_->standing().armed.has_value());
  EXPECT_FALSE(Enforces());
}

TEST_F(StandingTest, AnArmingThatTheKernelRefusesDoesNotStand) {
  Observe();
  firewall_.FailCommits(absl::UnavailableError("busy"));
  EXPECT_FALSE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  firewall_.FailCommits(absl::OkStatus());
  EXPECT_FALSE(gatekeeper_->standing().armed.has_value());
  Restart();
  EXPECT_FALSE(Enforces());
}

}  // namespace
}  // namespace postern
