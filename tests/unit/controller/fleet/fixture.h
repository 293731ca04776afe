// A controller as agents see it: a real store, an authority of its own, gRPC over
// TLS on loopback.

#ifndef POSTERN_TESTS_UNIT_CONTROLLER_FLEET_FIXTURE_H_
#define POSTERN_TESTS_UNIT_CONTROLLER_FLEET_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "controller/fleet/fleet_server.h"
#include "controller/fleet/issuer.h"
#include "controller/service/access_service.h"
#include "controller/service/fleet_service.h"
#include "tests/support/controller_stores.h"
#include "tests/unit/controller/fleet/test_agent.h"

namespace postern::controller {

// Waits for `condition`, which something else makes true; false when it does not.
bool Eventually(const std::function<bool()>& condition);

// owner may do everything. The policy allows ports 22 and 3389 of web-1 for three
// hours; an agent takes two at most.
class FleetTest : public testing::Test {
 protected:
  explicit FleetTest(StoreKind kind = StoreKind::kSqlite) : kind_(kind) {}
  void SetUp() override;

  void StartServer();
  // At the same port, by another controller's service.
  void StartServer(FleetService& fleet);
  // Another authority with the same store: its certificates live as long as this.
  void IssueFor(absl::Duration lifetime);

  static VmId Vm(const std::string& name);
  std::string address() const;
  std::string Token(const std::string& vm);
  // One that asks to be web-1.
  std::unique_ptr<TestAgent> Agent(const std::string& token);
  std::unique_ptr<TestAgent> AttachedAgent(TestAgentOptions options = {});

  // Once web-1 has joined.
  void PutPolicy();
  Request Ask(const std::string& source, absl::Duration duration, uint16_t port = 22);
  RequestedPort PortOf(const Request& request);
  bool Becomes(const Request& request, PortStatus status);

  const Caller owner_ = {.principal = "owner"};
  const PolicyId policy_ = {
      .subscription = "11111111-2222-3333-4444-555555555555",
      .resource_group = "web",
      .location = "west",
      .name = "default",
  };
  const StoreKind kind_;
  const TemporaryDirectory directory_;
  SystemClock clock_;
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<Issuer> issuer_;
  std::unique_ptr<AccessService> access_;
  std::unique_ptr<FleetService> fleet_;
  std::unique_ptr<FleetServer> server_;

 private:
  uint16_t port_ = 0;
};

}  // namespace postern::controller

#endif  // POSTERN_TESTS_UNIT_CONTROLLER_FLEET_FIXTURE_H_
