#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/enforcer/gatekeeper.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class ClocksTest : public GateTest {
 protected:
  void Reboot(absl::Time wall) {
    clock_.Reboot(wall);
    firewall_.DeleteTable();
    Restart();
  }
};

TEST_F(ClocksTest, AStepAheadEndsWhatItsWallTimeHasPassed) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(5)).ok());
  ASSERT_TRUE(Create(2, "198.51.100.9", absl::Hours(2)).ok());
  clock_.StepWall(absl::Hours(1));
  gatekeeper_->OnClockChanged();
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_TRUE(Admits("198.51.100.9"));
  EXPECT_THAT(Kinds(), Contains(AuditKind::kClockChanged));
  Pass(absl::Hours(1));
  EXPECT_FALSE(Admits("198.51.100.9"));
}

TEST_F(ClocksTest, AStepBackLengthensNothing) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  clock_.StepWall(-absl::Hours(5));
  gatekeeper_->OnClockChanged();
  Pass(absl::Hours(1) - absl::Seconds(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Seconds(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, AStepBackThatIsSetRightShortensNothing) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  clock_.StepWall(-absl::Hours(5));
  gatekeeper_->OnClockChanged();
  clock_.StepWall(absl::Hours(5));
  gatekeeper_->OnClockChanged();
  Pass(absl::Hours(1) - absl::Seconds(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, AStepThatNobodyToldOfIsFoundAtTheNextAlarm) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(30)).ok());
  clock_.StepWall(absl::Hours(1));
  Pass(absl::Minutes(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, SmallStepsThatNobodyToldOfAddUp) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Seconds(150)).ok());
  for (int i = 0; i < 4; ++i) {
    clock_.StepWall(absl::Milliseconds(300));
    Pass(absl::Seconds(1));
  }
  EXPECT_THAT(Kinds(), Contains(AuditKind::kClockChanged));
  Pass(gatekeeper_->Get(Id(1))->end - clock_.Read().wall);
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, SmallStepsAreToldOfOnceTheyAddUp) {
  for (int i = 0; i < 3; ++i) {
    clock_.StepWall(-absl::Milliseconds(300));
    gatekeeper_->OnClockChanged();
  }
  EXPECT_THAT(Kinds(), Not(Contains(AuditKind::kClockChanged)));
  clock_.StepWall(-absl::Milliseconds(300));
  gatekeeper_->OnClockChanged();
  EXPECT_THAT(Kinds(), Contains(AuditKind::kClockChanged));
  EXPECT_THAT(store_.audit().back().detail, HasSubstr("back by 1.2s"));
}

TEST_F(ClocksTest, AnAlarmBetweenASmallStepAndItsNewsLosesNothing) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(1)).ok());
  const absl::Time end = gatekeeper_->Get(Id(1))->end;
  clock_.StepWall(absl::Milliseconds(500));
  gatekeeper_->OnAlarm();
  gatekeeper_->OnClockChanged();
  Pass(end - clock_.Read().wall);
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, ASleepDoesNotHideASmallStep) {
  clock_.StepWall(absl::Milliseconds(600));
  gatekeeper_->OnAlarm();
  clock_.Sleep(absl::Hours(1));
  gatekeeper_->OnAlarm();
  clock_.StepWall(absl::Milliseconds(600));
  gatekeeper_->OnAlarm();
  EXPECT_THAT(store_.audit().back().detail, HasSubstr("ahead by 1.2s"));
}

TEST_F(ClocksTest, AStepWhileTheDaemonIsDeadIsFoundAtTheStart) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(30)).ok());
  clock_.StepWall(absl::Hours(1));
  Restart();
  EXPECT_FALSE(Admits("203.0.113.7"));
}

// The kernel's timeouts do not count the sleep: the ends are told again.
TEST_F(ClocksTest, AfterASleepTheKernelIsToldTheEndsAgain) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(2)).ok());
  ASSERT_TRUE(Create(2, "198.51.100.9", absl::Minutes(10)).ok());
  const int commits = firewall_.commits();
  clock_.Sleep(absl::Hours(1));
  gatekeeper_->OnClockChanged();
  EXPECT_GT(firewall_.commits(), commits);
  EXPECT_FALSE(Admits("198.51.100.9"));
  EXPECT_EQ(gatekeeper_->Get(Id(2))->state, GrantState::kExpired);
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, AfterARebootGrantsGoOnWithTheTimeLeft) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  Reboot(clock_.Read().wall + absl::Minutes(20));
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Minutes(40) - absl::Seconds(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Seconds(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, AfterARebootWithAClockThatWentBackNothingIsRestored) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  const absl::Time before = clock_.Read().wall;
  clock_.SetSynchronised(false);
  Reboot(before - absl::Hours(100));
  EXPECT_FALSE(Admits("203.0.113.7"));
  const GateStatus status = *gatekeeper_->Status();
  EXPECT_EQ(status.withheld_grants, 1U);
  EXPECT_THAT(status.withheld_reason, HasSubstr("not synchronised"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Extend(1, absl::Minutes(1)).status()));

  // Time servers set it right.
  clock_.StepWall(absl::Hours(100) + absl::Minutes(1));
  clock_.SetSynchronised(true);
  gatekeeper_->OnClockChanged();
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_EQ(gatekeeper_->Status()->withheld_grants, 0U);
  EXPECT_THAT(Kinds(), Contains(AuditKind::kGrantsRestored));
}

TEST_F(ClocksTest, ASynchronisedClockIsTrustedAlsoWhenItIsBehindTheLedger) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  Reboot(clock_.Read().wall - absl::Minutes(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
  // And yet no longer than the whole.
  Pass(absl::Hours(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

// What the ledger saw last is not what the clock said before it was set right.
TEST_F(ClocksTest, AClockThatWasSetBackIsTrustedAfterTheNextReboot) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  Pass(absl::Minutes(1));
  clock_.StepWall(-absl::Seconds(40));
  gatekeeper_->OnClockChanged();
  clock_.SetSynchronised(false);
  Reboot(clock_.Read().wall + absl::Seconds(10));
  EXPECT_EQ(gatekeeper_->Status()->withheld_grants, 0U);
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, AClockThatWasSetBackGivesNothingMoreAfterAReboot) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(2)).ok());
  Pass(absl::Minutes(90));
  clock_.StepWall(-absl::Hours(1));
  gatekeeper_->OnClockChanged();
  Reboot(clock_.Read().wall + absl::Minutes(10));
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Minutes(20) - absl::Seconds(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Seconds(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, AClockThatWasSetBackAndRightAgainTakesNothingAtAReboot) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(2)).ok());
  clock_.StepWall(-absl::Hours(1));
  gatekeeper_->OnClockChanged();
  clock_.StepWall(absl::Hours(1));
  gatekeeper_->OnClockChanged();
  Reboot(clock_.Read().wall + absl::Minutes(10));
  Pass(absl::Minutes(110) - absl::Seconds(1));
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, GrantsThatWaitedOverTwoRebootsAreJudgedByTheirOwn) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(2)).ok());
  Pass(absl::Minutes(90));
  clock_.StepWall(-absl::Hours(1));
  gatekeeper_->OnClockChanged();
  const absl::Time before = clock_.Read().wall;
  clock_.SetSynchronised(false);
  Reboot(before - absl::Hours(100));
  Reboot(before - absl::Hours(100));
  EXPECT_FALSE(Admits("203.0.113.7"));
  clock_.StepWall(before + absl::Minutes(10) - clock_.Read().wall);
  gatekeeper_->OnClockChanged();
  EXPECT_TRUE(Admits("203.0.113.7"));
  Pass(absl::Minutes(20));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ClocksTest, WithheldGrantsAreLookedAtAgainByThemselves) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  clock_.SetSynchronised(false);
  Reboot(clock_.Read().wall - absl::Minutes(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(gatekeeper_->NextAlarm().has_value());
    Pass(*gatekeeper_->NextAlarm() - clock_.Read().boot);
  }
  EXPECT_TRUE(Admits("203.0.113.7"));
}

// The kernel has nothing of it: that it refuses changes is no reason to keep it.
TEST_F(ClocksTest, ALockdownEndsWithheldGrantsAlsoWhereTheKernelRefuses) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  clock_.SetSynchronised(false);
  Reboot(clock_.Read().wall - absl::Minutes(1));
  firewall_.FailCommits(absl::UnavailableError("refused"));
  ASSERT_FALSE(Create(2, "198.51.100.9", absl::Hours(1)).ok());
  // The kernel may have taken the second one.
  EXPECT_EQ(gatekeeper_->LockDown("", "alice").status().code(), absl::StatusCode::kUnavailable);
  firewall_.FailCommits(absl::OkStatus());
  clock_.SetSynchronised(true);
  gatekeeper_->OnClockChanged();
  Pass(absl::Minutes(1));
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_EQ(gatekeeper_->Get(Id(1))->state, GrantState::kRevoked);
}

TEST_F(ClocksTest, AWithheldGrantCanBeRevoked) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  const absl::Time before = clock_.Read().wall;
  clock_.SetSynchronised(false);
  Reboot(before - absl::Hours(1));
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_EQ(gatekeeper_->Status()->withheld_grants, 0U);
  clock_.SetSynchronised(true);
  gatekeeper_->OnClockChanged();
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_THAT(Kinds(), Not(Contains(AuditKind::kGrantsRestored)));
}

TEST_F(ClocksTest, TheCallersClockIsComparedWithOurs) {
  GrantRequest request = Request(1);
  request.sent_at = clock_.Read().wall - absl::Seconds(90);
  ASSERT_TRUE(Do(CreateGrant{request}).ok());
  EXPECT_EQ(gatekeeper_->Get(Id(1))->clock_skew, absl::Seconds(90));
  EXPECT_EQ(gatekeeper_->Status()->clock_skew, absl::Seconds(90));
  // A repeat is a repeat, whenever it is sent.
  request.sent_at = clock_.Read().wall;
  EXPECT_TRUE(Do(CreateGrant{request}).ok());
}

}  // namespace
}  // namespace postern
