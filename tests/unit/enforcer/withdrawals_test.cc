// What takes access away: it does not wait for what it does not need.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using WithdrawalsTest = GateTest;

// ---- From where a grant was before it was moved

TEST_F(WithdrawalsTest, OfAMovedGrantEndTheSessionsFromWhereItWas) {
  const std::set<Flow> live = {SessionFrom("203.0.113.7"), SessionFrom("203.0.113.8"),
                               SessionFrom("203.0.113.9")};
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  ASSERT_TRUE(Move(1, "203.0.113.8").ok());
  ASSERT_TRUE(Move(1, "203.0.113.9").ok());
  sessions_.live = live;
  ASSERT_TRUE(Create(2, "203.0.113.7", absl::Hours(1)).ok());
  // The ledger knows it, not only the daemon.
  Restart();
  EXPECT_EQ(sessions_.live, live);
  ASSERT_TRUE(Revoke(1).ok());
  EXPECT_THAT(sessions_.live, ElementsAre(SessionFrom("203.0.113.7")));
}

TEST_F(WithdrawalsTest, AMoveEndsNoSessions) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1), OnExpiry::kReset).ok());
  ASSERT_TRUE(Move(1, "203.0.113.8").ok());
  EXPECT_THAT(sessions_.calls, IsEmpty());
}

TEST_F(WithdrawalsTest, ALockdownEndsTheSessionsFromWhereAGrantWas) {
  options_.gate.always_allow = {P("198.51.100.0/24")};
  Restart();
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  ASSERT_TRUE(Move(1, "198.51.100.1").ok());
  ASSERT_TRUE(Move(1, "203.0.113.8").ok());
  sessions_.live = {SessionFrom("203.0.113.7"), SessionFrom("198.51.100.1")};
  ASSERT_TRUE(gatekeeper_->LockDown("", "alice").ok());
  EXPECT_THAT(sessions_.live, ElementsAre(SessionFrom("198.51.100.1")));
}

TEST_F(WithdrawalsTest, AResetGrantsEndIsOneForWhereItWasToo) {
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Minutes(1), OnExpiry::kReset).ok());
  ASSERT_TRUE(Move(1, "203.0.113.8").ok());
  sessions_.live = {SessionFrom("203.0.113.7")};
  Pass(absl::Minutes(1));
  EXPECT_THAT(sessions_.live, IsEmpty());
}

}  // namespace
}  // namespace postern
