#include "tests/unit/controller/rest/api_fixture.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/store/schema.h"

namespace postern::controller {

void ApiTest::SetUp() {
  api_.reset();
  authenticator_.reset();
  fleet_.reset();
  access_.reset();
  absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(StoreKind::kSqlite);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  access_ = std::make_unique<AccessService>(store_->database(), clock_,
                                            [](const std::vector<std::string>&) {});
  fleet_ = std::make_unique<FleetService>(store_->database(), clock_);
  authenticator_ = std::make_unique<Authenticator>(store_->database(), issuers_, clock_);
  api_ = std::make_unique<Api>(
      *access_, *authenticator_, clock_,
      ApiOptions{.public_url = "https://postern.example.org", .report = [](const auto&) {}});
  const absl::StatusOr<std::optional<NewAccessToken>> owner = access_->MakeFirstOwner("owner");
  ASSERT_TRUE(owner.ok() && owner->has_value());
  token_ = (*owner)->secret;
  Join("web-1");
}

std::string ApiTest::VmPath(const std::string& name) {
  return absl::StrCat(kSubscription,
                      "/resourceGroups/web/providers/Microsoft.Compute/virtualMachines/", name);
}

std::string ApiTest::PolicyPath(const std::string& name) {
  return absl::StrCat(kSubscription,
                      "/resourceGroups/web/providers/Microsoft.Security/locations/west/"
                      "jitNetworkAccessPolicies/",
                      name);
}

nlohmann::json ApiTest::PolicyBody() {
  return {{"kind", "Basic"},
          {"properties",
           {{"virtualMachines",
             {{{"id", VmPath("web-1")},
               {"ports",
                {{{"number", 22},
                  {"protocol", "*"},
                  {"allowedSourceAddressPrefix", "*"},
                  {"maxRequestAccessDuration", "PT3H"}}}}}}}}}};
}

nlohmann::json ApiTest::AskBody() {
  return {{"virtualMachines",
           {{{"id", VmPath("web-1")}, {"ports", {{{"number", 22}, {"duration", "PT1H"}}}}}}},
          {"justification", "deploy"}};
}

void ApiTest::Join(const std::string& name) {
  const Json token = Call("POST", "/postern/v1/join-tokens",
                          {{"scope", VmPath(name)}, {"location", "west"}, {"lifetime", "1h"}}, 201);
  const absl::StatusOr<VmId> vm = fleet_->Enroll(token.value("secret", ""), name, "192.0.2.1");
  ASSERT_TRUE(vm.ok()) << vm.status();
  ASSERT_EQ(fleet_->RecordCertificate(*vm, "1", clock_.Read().wall + absl::Hours(24), ""),
            absl::OkStatus());
  ASSERT_EQ(fleet_->KeepAlive(), absl::OkStatus());
  ASSERT_EQ(fleet_->Attached({.vm = *vm, .id = "stream"}, "1", {.version = "1", .enforces = true}),
            absl::OkStatus());
}

HttpResponse ApiTest::Send(HttpRequest request) {
  request.peer = *Address::Parse("203.0.113.7");
  if (!request.headers.contains("authorization")) {
    request.headers["authorization"] = absl::StrCat("Bearer ", token_);
  }
  return api_->Handle(request);
}

nlohmann::json ApiTest::Call(const std::string& method, const std::string& target, const Json& body,
                             int status) {
  HttpRequest request{.method = method, .target = target};
  if (!body.is_null()) {
    request.headers["content-type"] = "application/json";
    request.body = body.dump();
  }
  last_ = Send(request);
  EXPECT_EQ(last_.status, status) << method << " " << target << " " << last_.body;
  return last_.body.empty() ? Json() : Json::parse(last_.body, nullptr, false);
}

std::string ApiTest::Header(const std::string& name) const {
  for (const auto& [key, value] : last_.headers) {
    if (key == name) return value;
  }
  return "";
}

}  // namespace postern::controller
