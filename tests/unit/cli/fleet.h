// A controller as posternctl sees it: the real REST interface over TLS on loopback,
// with a real store. Its one VM, web-1, applies what is wanted at once.

#ifndef POSTERN_TESTS_UNIT_CLI_FLEET_H_
#define POSTERN_TESTS_UNIT_CLI_FLEET_H_

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "controller/rest/api.h"
#include "controller/rest/http_server.h"
#include "controller/service/access_service.h"
#include "controller/service/fleet_service.h"
#include "tests/support/certificates.h"
#include "tests/support/controller_stores.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/cli/tool.h"

namespace postern {

inline constexpr char kGroup[] =
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web";

class FleetToolTest : public testing::Test {
 protected:
  FleetToolTest();
  void SetUp() override;

  static std::string VmId(const std::string& name);
  // YAML.
  static std::string PolicyText(const std::string& additions = "");

  void Join(const std::string& name);
  // As the owner, or as who has the token in `token_file`.
  Outcome Tool(std::vector<std::string> arguments, const std::string& token_file = "");
  // A token for `principal`, who gets `role` in the group; its file.
  std::string TokenFor(const std::string& principal, const std::string& role);
  void PutPolicy(const std::string& additions = "");
  // The VM does and tells what is wanted of it, if `applies_`; at each change by itself.
  void Apply();

  const TemporaryDirectory directory_;
  const SystemClock clock_;
  // Whether the VM confirms what is wanted of it.
  std::atomic<bool> applies_ = true;
  // How often more the controller cannot say what became of a request.
  std::atomic<int> outages_ = 0;
  // What the VM says to each extension, which it refuses then; empty: nothing.
  std::string refusal_;
  Environment environment_;

 private:
  const TestAuthority authority_{"test"};
  std::unique_ptr<controller::TestStore> store_;
  std::unique_ptr<controller::AccessService> access_;
  std::unique_ptr<controller::FleetService> fleet_;
  controller::TrustedIssuers issuers_{{}, clock_, controller::FetchKeys, [](const std::string&) {}};
  std::unique_ptr<controller::Authenticator> authenticator_;
  std::unique_ptr<controller::Api> api_;
  std::unique_ptr<controller::HttpServer> server_;
  std::string owner_file_;
  // Of the grants that the VM has, by their ids.
  std::map<std::string, absl::Time> ends_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_UNIT_CLI_FLEET_H_
