// The REST interface without HTTP: services on a store of their own, with a clock that
// stands.

#ifndef POSTERN_TESTS_UNIT_CONTROLLER_REST_API_FIXTURE_H_
#define POSTERN_TESTS_UNIT_CONTROLLER_REST_API_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "controller/rest/api.h"
#include "controller/service/fleet_service.h"
#include "tests/fakes/fake_clock.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {

// Calls are the owner's, who may do everything; web-1 has joined and attached.
class ApiTest : public testing::Test {
 protected:
  using Json = nlohmann::json;

  static constexpr char kSubscription[] = "/subscriptions/11111111-2222-3333-4444-555555555555";
  static constexpr char kVersion[] = "?api-version=2020-01-01";

  // A new store each time.
  void SetUp() override;

  static std::string VmPath(const std::string& name);
  static std::string PolicyPath(const std::string& name = "default");
  // 22 of web-1, from anywhere, for three hours at most.
  static Json PolicyBody();
  // An hour of it.
  static Json AskBody();

  void Join(const std::string& name);
  HttpResponse Send(HttpRequest request);
  // The body of the answer, which has to have this status.
  Json Call(const std::string& method, const std::string& target, const Json& body, int status);
  // Of the last answer.
  std::string Header(const std::string& name) const;

  FakeClock clock_;
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<AccessService> access_;
  std::unique_ptr<FleetService> fleet_;
  TrustedIssuers issuers_{{}, clock_, FetchKeys, [](const std::string&) {}};
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Api> api_;
  std::string token_;
  HttpResponse last_;
};

}  // namespace postern::controller

#endif  // POSTERN_TESTS_UNIT_CONTROLLER_REST_API_FIXTURE_H_
