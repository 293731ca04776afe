// Starts on a disk that takes no record of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "agent/enforcer/gatekeeper.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class UnrecordedStartTest : public GateTest {
 protected:
  void SetUp() override {
    GateTest::SetUp();
    ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(2)).ok());
    ASSERT_TRUE(Create(2, "198.51.100.9", absl::Minutes(5), OnExpiry::kReset).ok());
  }

  void FillDisk() { store_.FailCommits(absl::ResourceExhaustedError("the disk is full")); }
  void MakeSpace() { store_.FailCommits(absl::OkStatus()); }

  void Reboot() {
    clock_.Reboot(clock_.Read().wall + absl::Minutes(10));
    firewall_.DeleteTable();
    Restart();
  }
};

TEST_F(UnrecordedStartTest, WhatLivesIsAdoptedAndWhatIsOverEnds) {
  clock_.Advance(absl::Minutes(10));
  announced_.clear();
  FillDisk();
  Restart();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));
  EXPECT_FALSE(Admits("192.0.2.99"));
  EXPECT_EQ(gatekeeper_->live_grants(), 1U);
  EXPECT_EQ(gatekeeper_->Get(Id(2))->state, GrantState::kExpired);
  EXPECT_THAT(sessions_.calls, SizeIs(1));

  const absl::Status refused = Create(3, "192.0.2.99", absl::Hours(1)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the disk is full"));
  EXPECT_THAT(gatekeeper_->Status()->warnings,
              ElementsAre(AllOf(HasSubstr("could not be recorded yet"),
                                HasSubstr("no grant is made"), HasSubstr("make space"))));
  EXPECT_THAT(announced_, IsEmpty());
}

TEST_F(UnrecordedStartTest, ItIsRecordedWhenThereIsSpace) {
  clock_.Advance(absl::Minutes(10));
  FillDisk();
  Restart();
  announced_.clear();
  MakeSpace();
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_.grants().at(Id(2)).state, GrantState::kExpired);
  EXPECT_FALSE(store_.grants().at(Id(2)).sessions_pending);
  ASSERT_THAT(announced_, SizeIs(2));
  EXPECT_EQ(announced_[0].kind, AuditKind::kGrantExpired);
  EXPECT_EQ(announced_[1].kind, AuditKind::kAgentStarted);
  EXPECT_THAT(gatekeeper_->Status()->warnings, IsEmpty());
  EXPECT_TRUE(Create(3, "192.0.2.99", absl::Hours(1)).ok());
}

TEST_F(UnrecordedStartTest, AnotherStartBeforeThereIsSpaceFindsTheSame) {
  clock_.Advance(absl::Minutes(10));
  FillDisk();
  Restart();
  Restart();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_EQ(gatekeeper_->Get(Id(2))->state, GrantState::kExpired);
  MakeSpace();
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_.grants().at(Id(2)).state, GrantState::kExpired);
}

TEST_F(UnrecordedStartTest, ADiskThatFailsOtherwiseIsNoReasonNotToStart) {
  store_.FailCommits(absl::UnavailableError("input/output error"));
  Restart();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(UnrecordedStartTest, ADamagedLedgerIs) {
  store_.FailCommits(absl::DataLossError("malformed"));
  Restart();
  EXPECT_TRUE(absl::IsDataLoss(start_)) << start_;
}

// Their deadlines on this boot's clock are not durable: a crash would begin them
// anew.
TEST_F(UnrecordedStartTest, GrantsOfBeforeARebootWaitUntilTheirDeadlinesAreRecorded) {
  FillDisk();
  Reboot();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));
  EXPECT_EQ(gatekeeper_->Status()->withheld_grants, 2U);
  EXPECT_THAT(gatekeeper_->Status()->withheld_reason, HasSubstr("the disk is full"));
  EXPECT_THAT(sessions_.calls, IsEmpty());
  // Told once, however often it is tried.
  for (int i = 0; i < 20; ++i) Pass(absl::Seconds(1));
  EXPECT_THAT(reported_, SizeIs(1));
  EXPECT_FALSE(Admits("203.0.113.7"));

  MakeSpace();
  Pass(absl::Seconds(5));
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));
  EXPECT_EQ(store_.grants().at(Id(1)).boot_id, clock_.BootId());
  EXPECT_EQ(store_.grants().at(Id(2)).state, GrantState::kExpired);
  EXPECT_THAT(Kinds(), Contains(AuditKind::kGrantsRestored));
  EXPECT_EQ(gatekeeper_->Status()->withheld_grants, 0U);
}

TEST_F(UnrecordedStartTest, AGrantThatWaitsCanBeRevoked) {
  FillDisk();
  Reboot();
  ASSERT_TRUE(Revoke(1).ok());
  MakeSpace();
  Pass(absl::Seconds(5));
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_EQ(store_.grants().at(Id(1)).state, GrantState::kRevoked);
}

TEST_F(UnrecordedStartTest, ALockdownHoldsForGrantsThatWait) {
  ASSERT_TRUE(gatekeeper_->LockDown("a break-in", "alice").ok());
  FillDisk();
  Reboot();
  ASSERT_TRUE(start_.ok()) << start_;
  MakeSpace();
  Pass(absl::Seconds(5));
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_THAT(Kinds(), Not(Contains(AuditKind::kGrantsRestored)));
}

TEST_F(UnrecordedStartTest, AConfirmationThatDidNotComeIsRecordedLater) {
  options_.gate.enforce = false;
  Restart();
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  clock_.Advance(absl::Minutes(10));
  FillDisk();
  Restart();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_FALSE(gatekeeper_->enforces());
  MakeSpace();
  Pass(absl::Seconds(1));
  EXPECT_FALSE(store_.standing().armed.has_value());
}

}  // namespace
}  // namespace postern
