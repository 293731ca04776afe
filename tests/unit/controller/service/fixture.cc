#include "tests/unit/controller/service/fixture.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/store/schema.h"

namespace postern::controller {
namespace {

constexpr char kSubscription[] = "11111111-2222-3333-4444-555555555555";

}  // namespace

void ServiceTest::SetUp() {
  absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(GetParam());
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  access_ = std::make_unique<AccessService>(
      store_->database(), clock_,
      [this](const std::vector<std::string>& vms) { changed_.insert(vms.begin(), vms.end()); });
  fleet_ = std::make_unique<FleetService>(store_->database(), clock_);
  const absl::StatusOr<std::optional<NewAccessToken>> owner = access_->MakeFirstOwner("owner");
  ASSERT_TRUE(owner.ok() && owner->has_value()) << owner.status();
  Join("web-1");
  Join("web-2");
  const std::string group = absl::StrCat("/subscriptions/", kSubscription, "/resourceGroups/web");
  Assign("ana", BuiltInRole::kJitRequester, group);
  Assign("ben", BuiltInRole::kJitRequester, group);
  const absl::StatusOr<PolicyView> policy = access_->PutPolicy(By("owner"), WebPolicy());
  ASSERT_TRUE(policy.ok()) << policy.status();
}

Caller ServiceTest::By(const std::string& principal, const std::string& client_request_id) {
  return {.principal = principal,
          .address = *Address::Parse("203.0.113.7"),
          .correlation_id = "c",
          .client_request_id = client_request_id};
}

VmId ServiceTest::Vm(const std::string& name) {
  return {.subscription = kSubscription, .resource_group = "web", .name = name};
}

PolicyId ServiceTest::WebPolicyId() {
  return {.subscription = kSubscription,
          .resource_group = "web",
          .location = "west",
          .name = "default"};
}

PolicyChange ServiceTest::WebPolicy() {
  const PortRule ssh = {.number = 22,
                        .protocol = RuleProtocol::kTcp,
                        .max_duration = absl::Hours(3),
                        .allowed_sources = {.prefixes = {*Prefix::Parse("203.0.113.0/24")}}};
  const PortRule rdp = {
      .number = 3389, .protocol = RuleProtocol::kAny, .max_duration = absl::Hours(1)};
  return {.id = WebPolicyId(),
          .vms = {{.id = Vm("web-1"), .ports = {ssh, rdp}}, {.id = Vm("web-2"), .ports = {ssh}}}};
}

AgentStream ServiceTest::StreamOf(const std::string& vm, const std::string& id) {
  return {.vm = Vm(vm), .id = id};
}

Asked ServiceTest::Ask(uint16_t port, absl::Duration duration, const std::string& vm) {
  const AskedPort asked = {.number = port, .duration = duration};
  return {.vms = {{.id = Vm(vm), .ports = {asked}}}, .justification = "deploy"};
}

void ServiceTest::Join(const std::string& vm) {
  const absl::StatusOr<NewJoinToken> token =
      access_->CreateJoinToken(By("owner"), Scope::Of(Vm(vm)), "west", 1, absl::Hours(1));
  ASSERT_TRUE(token.ok()) << token.status();
  const absl::StatusOr<VmId> joined = fleet_->Enroll(token->secret, "", "192.0.2.1");
  ASSERT_TRUE(joined.ok()) << joined.status();
  ASSERT_EQ(fleet_->RecordCertificate(Vm(vm), kSerial, clock_.Read().wall + absl::Hours(24), ""),
            absl::OkStatus());
  ASSERT_EQ(fleet_->KeepAlive(), absl::OkStatus());
  ASSERT_EQ(fleet_->Attached(StreamOf(vm), kSerial, {.version = "1", .enforces = true}),
            absl::OkStatus());
}

void ServiceTest::Assign(const std::string& principal, BuiltInRole role, const std::string& scope) {
  ASSERT_EQ(access_->AssignRole(
                By("owner"), {.principal = principal, .role = role, .scope = *Scope::Parse(scope)}),
            absl::OkStatus());
}

Request ServiceTest::Initiate(const std::string& principal, uint16_t port,
                              absl::Duration duration) {
  absl::StatusOr<Request> request =
      access_->Initiate(By(principal), WebPolicyId(), Ask(port, duration));
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *std::move(request) : Request{};
}

Request ServiceTest::Get(const std::string& request) {
  absl::StatusOr<Request> found = access_->GetRequest(By("owner"), request);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? *std::move(found) : Request{};
}

Wanted ServiceTest::WantedOf(const std::string& vm) {
  absl::StatusOr<Wanted> wanted = fleet_->WantedOf(StreamOf(vm));
  EXPECT_TRUE(wanted.ok()) << wanted.status();
  return wanted.ok() ? *std::move(wanted) : Wanted{};
}

void ServiceTest::Apply(const std::string& vm) {
  const Wanted wanted = WantedOf(vm);
  Report report{.revision = wanted.revision};
  for (const WantedGrant& grant : wanted.grants) {
    report.grants.push_back({.id = grant.id, .state = ReportedState::kActive});
  }
  for (const Withdrawn& gone : wanted.withdrawn) {
    report.grants.push_back({.id = gone.id, .state = ReportedState::kRevoked});
  }
  ASSERT_EQ(fleet_->Take(StreamOf(vm), report), absl::OkStatus());
}

std::vector<AuditRow> ServiceTest::Audit(const std::string& operation) {
  absl::StatusOr<std::vector<AuditRow>> rows =
      access_->ReadAudit(By("owner"), {.operation = operation}, 1000);
  EXPECT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(access_->VerifyAudit(By("owner")), absl::OkStatus());
  return rows.ok() ? *std::move(rows) : std::vector<AuditRow>{};
}

std::set<std::string> ServiceTest::TakeChanged() { return std::exchange(changed_, {}); }

INSTANTIATE_TEST_SUITE_P(Stores, ServiceTest,
                         testing::Values(StoreKind::kSqlite, StoreKind::kPostgres),
                         [](const auto& test) { return StoreName(test.param); });

}  // namespace postern::controller
