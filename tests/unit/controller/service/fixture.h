// The controller's services on a store of each kind, with a clock that stands.

#ifndef POSTERN_TESTS_UNIT_CONTROLLER_SERVICE_FIXTURE_H_
#define POSTERN_TESTS_UNIT_CONTROLLER_SERVICE_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controller/service/access_service.h"
#include "controller/service/fleet_service.h"
#include "tests/fakes/fake_clock.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {

// VMs web-1 and web-2 have joined and attached; a policy allows 22 for three
// hours from 203.0.113.0/24 and 3389 for one from anywhere. owner may do
// everything, ana and ben may ask for access in the group, eve nothing.
class ServiceTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override;

  static Caller By(const std::string& principal, const std::string& client_request_id = "");
  static VmId Vm(const std::string& name);
  // Of the certificate that each VM has.
  static constexpr char kSerial[] = "0a";
  static AgentStream StreamOf(const std::string& vm, const std::string& id = "stream");
  static PolicyId WebPolicyId();
  static PolicyChange WebPolicy();
  static Asked Ask(uint16_t port, absl::Duration duration, const std::string& vm = "web-1");

  void Join(const std::string& vm);
  void Assign(const std::string& principal, BuiltInRole role, const std::string& scope);
  Request Initiate(const std::string& principal, uint16_t port, absl::Duration duration);
  Request Get(const std::string& request);
  Wanted WantedOf(const std::string& vm);
  // The agent has done all that is wanted of it.
  void Apply(const std::string& vm);
  std::vector<AuditRow> Audit(const std::string& operation = "");
  // The keys of VMs that `changed` was called with since the last time.
  std::set<std::string> TakeChanged();

  FakeClock clock_;
  std::unique_ptr<TestStore> store_;
  std::set<std::string> changed_;
  std::unique_ptr<AccessService> access_;
  std::unique_ptr<FleetService> fleet_;
};

}  // namespace postern::controller

#endif  // POSTERN_TESTS_UNIT_CONTROLLER_SERVICE_FIXTURE_H_
