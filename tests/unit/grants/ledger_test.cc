#include "agent/grants/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/grants.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

BootTime At(int seconds) { return BootTime(absl::Seconds(seconds)); }

class LedgerTest : public ::testing::Test {
 protected:
  // A live grant of 22/tcp from `source` until `end` seconds.
  void Put(int id, absl::string_view source, int end, OnExpiry on_expiry = OnExpiry::kKeep) {
    Grant grant;
    grant.id = Id(id);
    grant.sources = {P(source)};
    grant.ports = {Tcp(22)};
    grant.on_expiry = on_expiry;
    grant.deadline = At(end);
    ledger_.Put(grant);
  }
  std::optional<BootTime> Keep(absl::string_view source) {
    return ledger_.WantedEnd(Key(source, 22), Admission::kKeep);
  }
  std::optional<BootTime> Cut(absl::string_view source) {
    return ledger_.WantedEnd(Key(source, 22), Admission::kCut);
  }
  std::string CoveringId(absl::string_view address, int now = 0) {
    const Grant* grant = ledger_.Covering(A(address), Protocol::kTcp, 22, At(now));
    return grant == nullptr ? "" : grant->id;
  }

  Ledger ledger_;
};

TEST_F(LedgerTest, LatestClaimOnOneKeyCounts) {
  Put(1, "203.0.113.7", 100);
  Put(2, "203.0.113.7", 300);
  Put(3, "203.0.113.7", 200);
  EXPECT_EQ(Keep("203.0.113.7"), At(300));
  ledger_.Remove(Id(2));
  EXPECT_EQ(Keep("203.0.113.7"), At(200));
  ledger_.Remove(Id(1));
  EXPECT_EQ(Keep("203.0.113.7"), At(200));
  ledger_.Remove(Id(3));
  EXPECT_EQ(Keep("203.0.113.7"), std::nullopt);
}

TEST_F(LedgerTest, EqualEndsAreTwoClaims) {
  Put(1, "203.0.113.7", 100);
  Put(2, "203.0.113.7", 100);
  ledger_.Remove(Id(1));
  EXPECT_EQ(Keep("203.0.113.7"), At(100));
}

TEST_F(LedgerTest, KeepAndCutClaimsStandSideBySide) {
  Put(1, "203.0.113.7", 100, OnExpiry::kKeep);
  Put(2, "203.0.113.7", 300, OnExpiry::kCut);
  Put(3, "203.0.113.7", 400, OnExpiry::kReset);
  EXPECT_EQ(Keep("203.0.113.7"), At(100));
  EXPECT_EQ(Cut("203.0.113.7"), At(400));
  EXPECT_EQ(ledger_.CoverageOf(A("203.0.113.7"), Protocol::kTcp, 22, At(0)), Coverage::kKeep);
  EXPECT_EQ(ledger_.CoverageOf(A("203.0.113.7"), Protocol::kTcp, 22, At(100)), Coverage::kCut);
  EXPECT_EQ(ledger_.CoverageOf(A("203.0.113.7"), Protocol::kTcp, 22, At(400)), Coverage::kNone);
}

TEST_F(LedgerTest, ReplacingAGrantMovesItsClaims) {
  Put(1, "203.0.113.7", 100);
  Put(1, "198.51.100.9", 200);
  EXPECT_EQ(Keep("203.0.113.7"), std::nullopt);
  EXPECT_EQ(Keep("198.51.100.9"), At(200));
  EXPECT_EQ(ledger_.size(), 1U);
}

TEST_F(LedgerTest, NestedPrefixesAreIndependentAndTheLastEndCovers) {
  Put(1, "203.0.113.0/24", 100);
  Put(2, "203.0.113.7", 50);
  EXPECT_EQ(Keep("203.0.113.0/24"), At(100));
  EXPECT_EQ(Keep("203.0.113.7"), At(50));
  EXPECT_EQ(CoveringId("203.0.113.7"), Id(1));
  EXPECT_EQ(CoveringId("203.0.113.8"), Id(1));
  EXPECT_EQ(CoveringId("203.0.114.7"), "");
  ledger_.Remove(Id(1));
  EXPECT_EQ(CoveringId("203.0.113.7"), Id(2));
  EXPECT_EQ(CoveringId("203.0.113.8"), "");
}

TEST_F(LedgerTest, CoversNothingAfterTheEnd) {
  Put(1, "2001:db8::/32", 100);
  EXPECT_EQ(CoveringId("2001:db8::7", 99), Id(1));
  EXPECT_EQ(CoveringId("2001:db8::7", 100), "");
}

TEST_F(LedgerTest, FamiliesProtocolsAndPortsDoNotMix) {
  Put(1, "0.0.0.0/0", 100);
  EXPECT_EQ(CoveringId("2001:db8::7"), "");
  EXPECT_EQ(ledger_.Covering(A("203.0.113.7"), Protocol::kUdp, 22, At(0)), nullptr);
  EXPECT_EQ(ledger_.Covering(A("203.0.113.7"), Protocol::kTcp, 23, At(0)), nullptr);
}

TEST_F(LedgerTest, TellsWhoEndsWhen) {
  EXPECT_EQ(ledger_.EndingFirst(), nullptr);
  Put(1, "203.0.113.1", 300);
  Put(2, "203.0.113.2", 100);
  Put(3, "203.0.113.3", 200);
  EXPECT_EQ(ledger_.EndingFirst()->id, Id(2));
  EXPECT_EQ(ledger_.NextDeadlineAfter(At(100)), At(200));
  EXPECT_EQ(ledger_.NextDeadlineAfter(At(300)), std::nullopt);
  EXPECT_THAT(ledger_.EndingBetween(At(0), At(200)), ElementsAre(Id(2), Id(3)));
  EXPECT_THAT(ledger_.EndingBetween(At(100), At(200)), ElementsAre(Id(3)));
  EXPECT_THAT(ledger_.EndingBetween(At(300), At(900)), IsEmpty());
}

}  // namespace
}  // namespace postern
