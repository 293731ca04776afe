#include "agent/enforcer/exposure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/enforcer/gatekeeper.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Flow Session(absl::string_view remote, uint16_t port) {
  return {.remote = A(remote), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = port};
}

class ExposureTest : public GateTest {
 protected:
  void SetUp() override {
    options_.gate.ports = {22};
    GateTest::SetUp();
    sessions_.live = {ssh_, web_};
  }

  // What a reload to options_ would expose.
  std::vector<Flow> Newly() const { return *gatekeeper_->NewlyExposedSessions(options_); }

  const Flow ssh_ = Session("203.0.113.7", 22);
  const Flow web_ = Session("198.51.100.9", 8022);
};

TEST_F(ExposureTest, AReloadThatChangesNothingExposesNothing) {
  EXPECT_THAT(*gatekeeper_->ExposedSessions(options_), ElementsAre(ssh_));
  EXPECT_THAT(Newly(), IsEmpty());
}

TEST_F(ExposureTest, APortThatIsGuardedFromNowOnExposesItsSessions) {
  options_.gate.ports = {22, 8022};
  EXPECT_THAT(Newly(), ElementsAre(web_));
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  EXPECT_THAT(Newly(), IsEmpty());
}

TEST_F(ExposureTest, WhatAGrantCoversIsNotExposed) {
  options_.gate.always_allow = {P("203.0.113.0/24")};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  options_.gate.always_allow.clear();
  EXPECT_THAT(Newly(), ElementsAre(ssh_));
  ASSERT_TRUE(Create(1, "203.0.113.7", absl::Hours(1)).ok());
  EXPECT_THAT(Newly(), IsEmpty());
}

// Through which interface it came, nobody knows.
TEST_F(ExposureTest, AnInterfaceThatIsTrustedNoMoreExposesAllThatNothingCovers) {
  options_.gate.trusted_interfaces = {"wg0", "eth1"};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  options_.gate.trusted_interfaces = {"wg0", "eth2"};
  EXPECT_THAT(Newly(), ElementsAre(ssh_));
  options_.gate.trusted_interfaces = {"eth1", "wg0", "eth2"};
  EXPECT_THAT(Newly(), IsEmpty());
}

TEST_F(ExposureTest, FromObserveToEnforceAllIsNew) {
  options_.gate.enforce = false;
  options_.gate.ports = {22, 8022};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  EXPECT_THAT(Newly(), IsEmpty());
  options_.gate.enforce = true;
  EXPECT_THAT(Newly(), UnorderedElementsAre(ssh_, web_));
}

// It enforces although agent.yaml says observe, before the reload and after it.
TEST_F(ExposureTest, AnArmedGateCountsAsOneThatEnforces) {
  options_.gate.enforce = false;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "tester").ok());
  ASSERT_TRUE(gatekeeper_->Arm(absl::Minutes(10), "alice").ok());
  options_.gate.ports = {22, 8022};
  EXPECT_THAT(Newly(), ElementsAre(web_));
}

}  // namespace
}  // namespace postern
