// Two controllers on one PostgreSQL.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/controller/fleet/fixture.h"

namespace postern::controller {
namespace {

class SeveralTest : public FleetTest {
 protected:
  SeveralTest() : FleetTest(StoreKind::kPostgres) {}

  void SetUp() override {
    FleetTest::SetUp();
    ASSERT_FALSE(HasFatalFailure());
    absl::StatusOr<std::unique_ptr<Database>> database = store_->OpenAgain();
    ASSERT_TRUE(database.ok()) << database.status();
    other_database_ = *std::move(database);
    other_access_ = std::make_unique<AccessService>(*other_database_, clock_,
                                                    [](const std::vector<std::string>&) {});
    other_fleet_ = std::make_unique<FleetService>(*other_database_, clock_);
    hints_ = store_->database().Listen([this](const std::string& vm) {
      if (vm.empty()) return server_->CheckAll();
      server_->Changed({vm});
    });
  }
  // Before what they serve from.
  void TearDown() override {
    hints_.reset();
    server_.reset();
  }

  // By the controller that does not have the stream.
  Request AskOther(const std::string& source) {
    const AskedPort port = {.number = 22,
                            .duration = absl::Hours(1),
                            .sources = Sources{.prefixes = {*Prefix::Parse(source)}}};
    absl::StatusOr<Request> request =
        other_access_->Initiate(owner_, policy_, {.vms = {{.id = Vm("web-1"), .ports = {port}}}});
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *std::move(request) : Request{};
  }

  std::unique_ptr<Database> other_database_;
  std::unique_ptr<AccessService> other_access_;
  std::unique_ptr<FleetService> other_fleet_;
  std::unique_ptr<HintListener> hints_;
};

TEST_F(SeveralTest, TheOneThatHasTheStreamHearsOfARequestAtTheOther) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request request = AskOther("203.0.113.7");
  EXPECT_TRUE(Becomes(request, PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
  ASSERT_TRUE(other_access_->EndRequest(owner_, request.id, "done").ok());
  EXPECT_TRUE(Eventually([&] { return !agent->Admits("203.0.113.7"); }));
}

TEST_F(SeveralTest, WhereOneDiesTheAgentMovesOverWithNothingLostOrDoneTwice) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request before = Ask("203.0.113.7", absl::Hours(1), 3389);
  ASSERT_TRUE(Becomes(before, PortStatus::kInitiated));
  hints_.reset();
  server_.reset();
  const Request meanwhile = AskOther("203.0.113.8");
  EXPECT_EQ(PortOf(meanwhile).status, PortStatus::kInitiating);
  StartServer(*other_fleet_);
  EXPECT_TRUE(Becomes(meanwhile, PortStatus::kInitiated));
  EXPECT_EQ(PortOf(before).status, PortStatus::kInitiated);
  const auto grants = agent->On<size_t>(
      [](Gatekeeper& gatekeeper) { return gatekeeper.List(0, 100, true)->size(); });
  EXPECT_EQ(grants, 2u);
}

// The store of both is gone for a while.
TEST_F(SeveralTest, WithoutPostgresAgentsKeepTheirGrantsAndAllGoesOnByItself) {
  const std::unique_ptr<TestAgent> agent = AttachedAgent();
  PutPolicy();
  const Request before = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(before, PortStatus::kInitiated));
  PostgresServer* const postgres = *SharedPostgres();
  postgres->Kill();
  const AskedPort port = {.number = 3389,
                          .duration = absl::Hours(1),
                          .sources = Sources{.prefixes = {*Prefix::Parse("203.0.113.8")}}};
  const Asked asked = {.vms = {{.id = Vm("web-1"), .ports = {port}}}};
  for (AccessService* access : {access_.get(), other_access_.get()}) {
    const absl::Status refused = access->Initiate(owner_, policy_, asked).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << refused;
    EXPECT_FALSE(access->EndRequest(owner_, before.id, "done").ok());
  }
  // The controllers look at the store for what they may have missed, and hear nothing.
  server_->CheckAll();
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
  // What the agent has to tell cannot be kept either.
  agent->RevokeLocally(before.ports[0].grant_id);
  EXPECT_FALSE(agent->Admits("203.0.113.7"));
  ASSERT_EQ(postgres->Run(), absl::OkStatus());
  EXPECT_TRUE(Becomes(before, PortStatus::kRevoked));
  EXPECT_TRUE(Becomes(AskOther("203.0.113.8"), PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.8"));
}

}  // namespace
}  // namespace postern::controller
