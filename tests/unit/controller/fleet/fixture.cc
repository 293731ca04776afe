#include "tests/unit/controller/fleet/fixture.h"

#include <poll.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/store/schema.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

}  // namespace

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    poll(nullptr, 0, 5);
  }
  return true;
}

void FleetTest::SetUp() {
  absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(kind_);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  IssueFor(absl::Hours(720));
  access_ = std::make_unique<AccessService>(store_->database(), clock_,
                                            [this](const std::vector<std::string>& vms) {
                                              if (server_ != nullptr) server_->Changed(vms);
                                            });
  fleet_ = std::make_unique<FleetService>(store_->database(), clock_);
  ASSERT_TRUE(access_->MakeFirstOwner("owner").ok());
  StartServer();
}

void FleetTest::StartServer() { StartServer(*fleet_); }

void FleetTest::StartServer(FleetService& fleet) {
  absl::StatusOr<std::unique_ptr<FleetServer>> server = FleetServer::Start(
      {.address = *Address::Parse("127.0.0.1"), .port = port_, .report = [](const auto&) {}}, fleet,
      *issuer_, clock_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  port_ = server_->port();
}

void FleetTest::IssueFor(absl::Duration lifetime) {
  absl::StatusOr<std::unique_ptr<Issuer>> issuer = Issuer::Open({.directory = directory_.Path(""),
                                                                 .authority = {},
                                                                 .lifetime = lifetime,
                                                                 .names = {"127.0.0.1"}},
                                                                absl::Now());
  ASSERT_TRUE(issuer.ok()) << issuer.status();
  issuer_ = *std::move(issuer);
}

VmId FleetTest::Vm(const std::string& name) {
  return {.subscription = "11111111-2222-3333-4444-555555555555",
          .resource_group = "web",
          .name = name};
}

std::string FleetTest::address() const { return absl::StrCat("127.0.0.1:", port_); }

std::string FleetTest::Token(const std::string& vm) {
  const absl::StatusOr<NewJoinToken> made =
      access_->CreateJoinToken(owner_, Scope::Of(Vm(vm)), "west", 1, absl::Hours(1));
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? made->secret : "";
}

std::unique_ptr<TestAgent> FleetTest::Agent(const std::string& token) {
  return std::make_unique<TestAgent>(
      TestAgentOptions{.address = address(), .ca = issuer_->authorities(), .token = token});
}

std::unique_ptr<TestAgent> FleetTest::AttachedAgent(TestAgentOptions options) {
  options.address = address();
  options.ca = issuer_->authorities();
  options.token = Token("web-1");
  auto agent = std::make_unique<TestAgent>(options);
  EXPECT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
  return agent;
}

void FleetTest::PutPolicy() {
  std::vector<PortRule> ports;
  for (const uint16_t number : {22, 3389}) {
    ports.push_back(
        {.number = number, .protocol = RuleProtocol::kTcp, .max_duration = absl::Hours(3)});
  }
  const absl::StatusOr<PolicyView> made =
      access_->PutPolicy(owner_, {.id = policy_, .vms = {{.id = Vm("web-1"), .ports = ports}}});
  ASSERT_TRUE(made.ok()) << made.status();
}

Request FleetTest::Ask(const std::string& source, absl::Duration duration, uint16_t port) {
  const AskedPort asked = {.number = port,
                           .duration = duration,
                           .sources = Sources{.prefixes = {*Prefix::Parse(source)}}};
  absl::StatusOr<Request> request =
      access_->Initiate(owner_, policy_, {.vms = {{.id = Vm("web-1"), .ports = {asked}}}});
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *std::move(request) : Request{};
}

RequestedPort FleetTest::PortOf(const Request& request) {
  return access_->GetRequest(owner_, request.id)->ports[0];
}

bool FleetTest::Becomes(const Request& request, PortStatus status) {
  return Eventually([&] { return PortOf(request).status == status; });
}

}  // namespace postern::controller
