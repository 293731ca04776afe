// Connections that are older than the gate.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using OlderTest = GateTest;

TEST_F(OlderTest, ConnectionsOlderThanTheGateAreAdmittedAndThoseOnlyOnce) {
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

// Nothing tells whether it came by the grant, and whoever revokes believes the answer.
TEST_F(OlderTest, WhereTheTableWasLostWhatAGrantCoversEndsWithIt) {
  const auto from = [](const char* remote) {
    return Flow{
        .remote = A(remote), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  };
  const Flow granted = from("198.51.100.1");
  const Flow moved = from("198.51.100.2");
  const Flow older = from("198.51.100.3");
  ASSERT_TRUE(Create(1, "198.51.100.1", absl::Hours(1)).ok());
  ASSERT_TRUE(Create(2, "198.51.100.2", absl::Hours(1)).ok());
  ASSERT_TRUE(Move(2, "203.0.113.9").ok());
  sessions_.live = {granted, moved, older};
  firewall_.DeleteTable();
  Restart();
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older));
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_THAT(sessions_.live, ElementsAre(moved, older));
  ASSERT_TRUE(Revoke(2).ok());
  EXPECT_THAT(sessions_.live, ElementsAre(older));
}

class OlderFlowsTest : public GateTest {
 protected:
  void SetUp() override {
    GateTest::SetUp();
    firewall_.DeleteTable();
    sessions_.live = {older_};
    Restart();
    ASSERT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older_));
  }

  const Flow older_ = {
      .remote = A("198.51.100.1"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
};

TEST_F(OlderFlowsTest, OneThatIsGoneLeavesTheTable) {
  ASSERT_TRUE(Create(1).ok());
  EXPECT_LE(*gatekeeper_->NextAlarm(), clock_.Read().boot + absl::Minutes(1));
  sessions_.live = {};
  // The kernel may leave one out of a list; what two do not have is gone.
  Pass(absl::Minutes(1));
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older_));
  Pass(absl::Minutes(1));
  EXPECT_THAT(*firewall_.ReadOlderFlows(), IsEmpty());
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(OlderFlowsTest, OneThatWasLeftOutOfAListOnceStays) {
  for (int i = 0; i < 3; ++i) {
    sessions_.live = {};
    Pass(absl::Minutes(1));
    sessions_.live = {older_};
    Pass(absl::Minutes(1));
  }
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older_));
}

TEST_F(OlderFlowsTest, ALaterOneOfTheSameAddressesAndPortsIsNotSpared) {
  sessions_.cookies[older_] = 2;
  Pass(absl::Minutes(1));
  EXPECT_THAT(*firewall_.ReadOlderFlows(), IsEmpty());
}

TEST_F(OlderFlowsTest, ARevokeEndsALaterOneAtOnce) {
  ASSERT_TRUE(Create(1, "198.51.100.1", absl::Hours(1)).ok());
  sessions_.cookies[older_] = 2;
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_THAT(sessions_.live, IsEmpty());
  EXPECT_THAT(*firewall_.ReadOlderFlows(), IsEmpty());
}

TEST_F(OlderFlowsTest, ARevokeSparesTheOlderOne) {
  ASSERT_TRUE(Create(1, "198.51.100.1", absl::Hours(1)).ok());
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_THAT(sessions_.live, ElementsAre(older_));
}

TEST_F(OlderFlowsTest, WithoutAnyNothingIsLookedFor) {
  sessions_.live = {};
  Pass(absl::Minutes(1));
  Pass(absl::Minutes(1));
  EXPECT_EQ(gatekeeper_->NextAlarm(), std::nullopt);
}

TEST_F(OlderFlowsTest, ATableThatTheKernelRefusesIsTriedAgain) {
  sessions_.cookies[older_] = 2;
  firewall_.FailCommits(absl::UnavailableError("no memory"));
  Pass(absl::Minutes(1));
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older_));
  firewall_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_THAT(*firewall_.ReadOlderFlows(), IsEmpty());
}

}  // namespace
}  // namespace postern
