// What the gatekeeper tells of those that it refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class DeniedTest : public GateTest {
 protected:
  // The packet path refused `source` so long ago.
  void Knocked(absl::string_view source, absl::Duration ago, Counter packets = {1, 60}) {
    const AccessKey key = Key(source, 22);
    const std::string set = DeniedSetName(key.source.family(), gatekeeper_->enforces());
    firewall_.Tamper().denied_sets.at(set).push_back({key, kDeniedFor - ago, packets});
  }
  DeniedAnswer Denied(size_t most = 100) {
    const absl::StatusOr<DeniedAnswer> answer = gatekeeper_->Denied(most);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.value_or(DeniedAnswer());
  }
  std::vector<std::string> Sources(size_t most = 10'000) {
    std::vector<std::string> sources;
    for (const DeniedSource& source : Denied(most).sources) {
      sources.push_back(source.source.ToString());
    }
    return sources;
  }
  void Observe() {
    options_.gate.enforce = false;
    ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  }
};

TEST_F(DeniedTest, TheLastComesFirstWithWhatItSent) {
  Knocked("203.0.113.7", absl::Minutes(5), {14, 840});
  Knocked("2001:db8::7", absl::Seconds(20));
  Knocked("203.0.113.9", absl::Minutes(59));
  const DeniedAnswer denied = Denied();
  EXPECT_TRUE(denied.enforced);
  EXPECT_EQ(denied.total, 3U);
  EXPECT_THAT(Sources(), ElementsAre("2001:db8::7", "203.0.113.7", "203.0.113.9"));
  ASSERT_THAT(denied.sources, SizeIs(3));
  EXPECT_EQ(denied.sources[1].packets, (Counter{14, 840}));
  EXPECT_EQ(denied.sources[1].port, 22);
  EXPECT_EQ(denied.now - denied.sources[1].last_seen, absl::Minutes(5));
}

TEST_F(DeniedTest, OnlyAsManyAsAskedForAreTold) {
  for (int i = 1; i <= 9; ++i) {
    Knocked(absl::StrCat("203.0.113.", i), absl::Minutes(i));
  }
  EXPECT_THAT(Sources(2), ElementsAre("203.0.113.1", "203.0.113.2"));
  EXPECT_EQ(Denied(2).total, 9U);
}

TEST_F(DeniedTest, WhereTheGateObservesTheyWereLetThrough) {
  Observe();
  Knocked("203.0.113.7", absl::Minutes(5));
  EXPECT_FALSE(Denied().enforced);
  EXPECT_THAT(Sources(), ElementsAre("203.0.113.7"));
}

TEST_F(DeniedTest, ARestartAndAReloadKeepThem) {
  Knocked("203.0.113.7", absl::Minutes(5), {14, 840});
  Restart();
  ASSERT_TRUE(start_.ok()) << start_;
  EXPECT_EQ(Denied().sources[0].packets, (Counter{14, 840}));
  options_.gate.always_allow = {P("192.0.2.0/24")};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  EXPECT_EQ(Denied().now - Denied().sources[0].last_seen, absl::Minutes(5));
}

TEST_F(DeniedTest, OfManyARestartKeepsTheLatest) {
  for (int i = 0; i < 2000; ++i) {
    Knocked(absl::StrCat("10.0.", i / 250, ".", i % 250), absl::Seconds(i + 1));
  }
  Restart();
  const std::vector<std::string> sources = Sources();
  EXPECT_THAT(sources, SizeIs(1024));
  EXPECT_EQ(sources.front(), "10.0.0.0");
}

TEST_F(DeniedTest, WhatWasLetThroughIsNotCalledDeniedLater) {
  Observe();
  Knocked("203.0.113.7", absl::Minutes(5));
  options_.gate.enforce = true;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  EXPECT_THAT(Sources(), IsEmpty());
}

TEST_F(DeniedTest, ATableThatIsGoneTakesThemAlong) {
  Knocked("203.0.113.7", absl::Minutes(5));
  firewall_.DeleteTable();
  EXPECT_THAT(Sources(), IsEmpty());
}

}  // namespace
}  // namespace postern
