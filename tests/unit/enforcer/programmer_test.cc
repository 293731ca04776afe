#include "agent/enforcer/programmer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::UnorderedElementsAre;

class ProgrammerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(programmer_.Rebuild(gate_, {}, {}, Time()).ok()); }
  BootTime Time() { return clock_.Read().boot; }
  void Put(int id, absl::string_view source, absl::Duration lasts) {
    Grant grant;
    grant.id = Id(id);
    grant.sources = {P(source)};
    grant.ports = {Tcp(22)};
    grant.deadline = Time() + lasts;
    ledger_.Put(grant);
  }
  absl::Status Apply(absl::string_view source) {
    return programmer_.Apply({postern::Key(source, 22)}, Time());
  }
  std::vector<std::string> Sets() {
    std::vector<std::string> names;
    for (const auto& [id, elements] : firewall_.table()->sets) names.push_back(id.Name());
    return names;
  }

  GateOptions gate_{
      .enforce = true, .ports = {22}, .trusted_interfaces = {}, .always_allow = {}, .own_port = {}};
  FakeClock clock_;
  FakeFirewall firewall_{clock_};
  Ledger ledger_;
  Programmer programmer_{ledger_, firewall_};
};

TEST_F(ProgrammerTest, SetsComeAndGoWithTheirPrefixLengths) {
  EXPECT_THAT(Sets(), IsEmpty());
  Put(1, "203.0.113.7", absl::Minutes(1));
  Put(2, "203.0.113.0/24", absl::Minutes(1));
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  ASSERT_TRUE(Apply("203.0.113.0/24").ok());
  EXPECT_THAT(Sets(), UnorderedElementsAre("keep4_24", "keep4_32"));
  ledger_.Remove(Id(1));
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  EXPECT_THAT(Sets(), UnorderedElementsAre("keep4_24", "keep4_32"));
  EXPECT_EQ(programmer_.NextPrune(), Time() + absl::Minutes(1));
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(programmer_.Prune(Time()).ok());
  EXPECT_THAT(Sets(), ElementsAre("keep4_24"));
  EXPECT_EQ(programmer_.NextPrune(), std::nullopt);
}

TEST_F(ProgrammerTest, ASetThatIsUsedAgainInTimeStays) {
  Put(1, "203.0.113.7", absl::Minutes(10));
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  ledger_.Remove(Id(1));
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  Put(2, "203.0.113.8", absl::Minutes(10));
  ASSERT_TRUE(Apply("203.0.113.8").ok());
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(programmer_.Prune(Time()).ok());
  EXPECT_THAT(Sets(), ElementsAre("keep4_32"));
}

TEST_F(ProgrammerTest, WhatIsInPlaceIsNotSentAgain) {
  Put(1, "203.0.113.7", absl::Minutes(1));
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  const int commits = firewall_.commits();
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  EXPECT_EQ(firewall_.commits(), commits);
}

TEST_F(ProgrammerTest, ARefusedBatchIsTriedWholeTheNextTime) {
  Put(1, "203.0.113.7", absl::Minutes(1));
  firewall_.FailCommits(absl::UnavailableError("busy"));
  EXPECT_FALSE(Apply("203.0.113.7").ok());
  firewall_.FailCommits(absl::OkStatus());
  ASSERT_TRUE(Apply("203.0.113.7").ok());
  EXPECT_TRUE(firewall_.Admits(A("203.0.113.7"), Protocol::kTcp, 22));
}

TEST_F(ProgrammerTest, ARebuildInstallsWhatTheLedgerHoldsAndNoMore) {
  Put(1, "203.0.113.7", absl::Minutes(1));
  Put(2, "203.0.113.8", absl::Minutes(2));
  clock_.Advance(absl::Minutes(1));
  firewall_.DeleteTable();
  ASSERT_TRUE(programmer_.Rebuild(gate_, {}, {}, Time()).ok());
  EXPECT_EQ(programmer_.element_count(), 1U);
  EXPECT_FALSE(firewall_.Admits(A("203.0.113.7"), Protocol::kTcp, 22));
  EXPECT_TRUE(firewall_.Admits(A("203.0.113.8"), Protocol::kTcp, 22));
}

}  // namespace
}  // namespace postern
