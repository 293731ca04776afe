#include "tests/unit/cli/fleet.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/store/schema.h"

namespace postern {

FleetToolTest::FleetToolTest() {
  environment_.user = "bob";
  environment_.zone = TestZone();
}

void FleetToolTest::SetUp() {
  absl::StatusOr<std::unique_ptr<controller::TestStore>> store =
      controller::TestStore::Make(controller::StoreKind::kSqlite);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  controller::Database& database = store_->database();
  ASSERT_EQ(controller::Migrate(database), absl::OkStatus());
  access_ = std::make_unique<controller::AccessService>(
      database, clock_, [this](const std::vector<std::string>&) { Apply(); });
  fleet_ = std::make_unique<controller::FleetService>(database, clock_);
  authenticator_ = std::make_unique<controller::Authenticator>(database, issuers_, clock_);
  api_ = std::make_unique<controller::Api>(
      *access_, *authenticator_, clock_,
      controller::ApiOptions{.public_url = "https://localhost", .report = [](const auto&) {}});
  const Identity identity = authority_.Issue({.names = {"IP:127.0.0.1"}});
  controller::HttpServerOptions options{.address = *Address::Parse("127.0.0.1")};
  options.tls = [identity] {
    return controller::ServerTls{.certificate = identity.cert, .key = identity.key};
  };
  options.handle = [this](const controller::HttpRequest& request) {
    const bool asks = absl::StartsWith(request.target, "/postern/v1/requests/");
    if (asks && outages_ > 0 && --outages_ >= 0) return controller::HttpResponse{.status = 503};
    return api_->Handle(request);
  };
  auto server = controller::HttpServer::Start(std::move(options));
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  const auto owner = access_->MakeFirstOwner("user:owner");
  ASSERT_TRUE(owner.ok() && owner->has_value());
  owner_file_ = directory_.Write("owner.token", (*owner)->secret + "\n");
  environment_.variables = {
      {"POSTERN_CONTROLLER", absl::StrCat("https://127.0.0.1:", server_->port())},
      {"POSTERN_CA", directory_.Write("ca.pem", authority_.cert())}};
  Join("web-1");
}

std::string FleetToolTest::VmId(const std::string& name) {
  return absl::StrCat(kGroup, "/providers/Microsoft.Compute/virtualMachines/", name);
}

std::string FleetToolTest::PolicyText(const std::string& additions) {
  return absl::StrCat("id: ", kGroup,
                      "/providers/Microsoft.Security/locations/west/jitNetworkAccessPolicies/"
                      "default\n"
                      "properties:\n"
                      "  virtualMachines:\n"
                      "    - id: ",
                      VmId("web-1"),
                      "\n"
                      "      ports:\n"
                      "        - number: 22\n"
                      "          protocol: TCP\n"
                      "          allowedSourceAddressPrefix: \"*\"\n"
                      "          maxRequestAccessDuration: PT30M\n"
                      "        - number: 3389\n"
                      "          protocol: TCP\n"
                      "          allowedSourceAddressPrefix: \"*\"\n"
                      "          maxRequestAccessDuration: PT30M\n",
                      additions);
}

void FleetToolTest::Join(const std::string& name) {
  const Outcome made = Tool({"vm", "join-token", "--scope", VmId(name), "--location", "west"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const std::string secret = made.out.substr(0, made.out.find('\n'));
  const auto vm = fleet_->Enroll(secret, name, "192.0.2.1");
  ASSERT_TRUE(vm.ok()) << vm.status();
  ASSERT_EQ(fleet_->RecordCertificate(*vm, "1", absl::Now() + absl::Hours(24), ""),
            absl::OkStatus());
  ASSERT_EQ(fleet_->KeepAlive(), absl::OkStatus());
  ASSERT_EQ(fleet_->Attached({.vm = *vm, .id = "stream"}, "1", {.version = "1", .enforces = true}),
            absl::OkStatus());
}

Outcome FleetToolTest::Tool(std::vector<std::string> arguments, const std::string& token_file) {
  environment_.variables["POSTERN_TOKEN_FILE"] = token_file.empty() ? owner_file_ : token_file;
  return RunTool(arguments, environment_);
}

std::string FleetToolTest::TokenFor(const std::string& principal, const std::string& role) {
  const Outcome assigned =
      Tool({"role", "assign", "--principal", principal, "--role", role, "--scope", kGroup});
  EXPECT_EQ(assigned.exit_code, 0) << assigned.err;
  const Outcome made = Tool({"token", "create", "--principal", principal});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  return directory_.Write(absl::StrCat(principal, ".token"), made.out);
}

void FleetToolTest::PutPolicy(const std::string& additions) {
  const std::string file = directory_.Write("policy.yaml", PolicyText(additions));
  const Outcome applied = Tool({"policy", "apply", "-f", file});
  ASSERT_EQ(applied.exit_code, 0) << applied.err;
}

void FleetToolTest::Apply() {
  if (!applies_ || fleet_ == nullptr) return;
  const controller::AgentStream stream = {.vm = *controller::VmId::Parse(VmId("web-1")),
                                          .id = "stream"};
  const absl::StatusOr<controller::Wanted> wanted = fleet_->WantedOf(stream);
  // It is forgotten.
  if (absl::IsPermissionDenied(wanted.status())) return;
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  controller::Report report{.revision = wanted->revision};
  for (const controller::WantedGrant& grant : wanted->grants) {
    const auto [end, is_new] = ends_.try_emplace(grant.id, grant.end);
    const bool refused = !refusal_.empty() && grant.end > end->second;
    if (!refused) end->second = grant.end;
    report.grants.push_back({.id = grant.id,
                             .state = controller::ReportedState::kActive,
                             .reason = refused ? refusal_ : "",
                             .end = end->second});
  }
  for (const controller::Withdrawn& gone : wanted->withdrawn) {
    report.grants.push_back({.id = gone.id, .state = controller::ReportedState::kRevoked});
  }
  EXPECT_EQ(fleet_->Take(stream, report), absl::OkStatus());
}

}  // namespace postern
