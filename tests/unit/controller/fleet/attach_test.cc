// The controller's end of the stream and the agent's, over TLS on loopback, with
// a real store on one side and a gatekeeper over fakes on the other.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent/link/link.h"
#include "controller/fleet/fleet_server.h"
#include "controller/service/access_service.h"
#include "controller/store/schema.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

constexpr char kSubscription[] = "11111111-2222-3333-4444-555555555555";
constexpr absl::Duration kPatience = absl::Seconds(30);

VmId Vm(const std::string& name) {
  return {.subscription = kSubscription, .resource_group = "web", .name = name};
}

// Waits for `condition`, which something else makes true; false when it does not.
bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    poll(nullptr, 0, 5);
  }
  return true;
}

// An agent without a kernel: the gatekeeper's thread, and the link.
class TestAgent {
 public:
  TestAgent(const std::string& address, const std::string& ca, const std::string& token) {
    options_.limits.max_duration = absl::Hours(2);
    options_.gate.ports = options_.limits.guarded_ports;
    gatekeeper_ = std::make_unique<Gatekeeper>(
        options_, Gatekeeper::Collaborators{.clock = clock_,
                                            .store = store_,
                                            .firewall = firewall_,
                                            .sessions = sessions_,
                                            .announce =
                                                [this](const AuditEvent& event) {
                                                  if (link_ != nullptr) link_->OnEvent(event);
                                                },
                                            .report = [](const absl::Status&) {}});
    EXPECT_EQ(gatekeeper_->Start(), absl::OkStatus());
    LinkOptions options{.controller = {.address = address,
                                       .ca = directory_.Write("ca.pem", ca, 0644),
                                       .join_token_file = directory_.Write("token", token)},
                        .state_dir = directory_.Path(""),
                        .version = "1",
                        .name = "web-1",
                        .guarded_ports = options_.limits.guarded_ports,
                        .max_duration = options_.limits.max_duration,
                        .changed = [] {}};
    link_ = Link::Start(std::move(options), mailbox_, clock_);
    loop_ = std::thread([this] { Loop(); });
  }

  ~TestAgent() {
    stopping_ = true;
    mailbox_.Ask([](Gatekeeper&) {}).IgnoreError();
    loop_.join();
    mailbox_.Close();
    mailbox_.Drain(*gatekeeper_);
    link_.reset();
  }

  LinkState state() const { return link_->state(); }

  template <typename T>
  T On(const std::function<T(Gatekeeper&)>& ask) {
    std::promise<T> answer;
    EXPECT_EQ(mailbox_.Ask([&](Gatekeeper& gatekeeper) { answer.set_value(ask(gatekeeper)); }),
              absl::OkStatus());
    return answer.get_future().get();
  }

  bool Admits(const std::string& source) {
    return On<bool>(
        [&](Gatekeeper&) { return firewall_.Admits(*Address::Parse(source), Protocol::kTcp, 22); });
  }

 private:
  void Loop() {
    while (!stopping_) {
      pollfd waiting{.fd = mailbox_.fd(), .events = POLLIN, .revents = 0};
      poll(&waiting, 1, 1000);
      mailbox_.Drain(*gatekeeper_);
    }
  }

  const TemporaryDirectory directory_;
  SystemClock clock_;
  FakeStore store_;
  FakeFirewall firewall_{clock_};
  FakeSessions sessions_;
  GatekeeperOptions options_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  Mailbox mailbox_;
  std::unique_ptr<Link> link_;
  std::atomic<bool> stopping_ = false;
  std::thread loop_;
};

class AttachTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(StoreKind::kSqlite);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
    absl::StatusOr<std::unique_ptr<Issuer>> issuer = Issuer::Open({.directory = directory_.Path(""),
                                                                   .authority = {},
                                                                   .lifetime = absl::Hours(720),
                                                                   .names = {"127.0.0.1"}},
                                                                  absl::Now());
    ASSERT_TRUE(issuer.ok()) << issuer.status();
    issuer_ = *std::move(issuer);
    access_ = std::make_unique<AccessService>(store_->database(), clock_,
                                              [this](const std::vector<std::string>& vms) {
                                                if (server_ != nullptr) server_->Changed(vms);
                                              });
    fleet_ = std::make_unique<FleetService>(store_->database(), clock_);
    ASSERT_TRUE(access_->MakeFirstOwner("owner").ok());
    StartServer();
  }

  void StartServer() {
    absl::StatusOr<std::unique_ptr<FleetServer>> server = FleetServer::Start(
        {.address = *Address::Parse("127.0.0.1"), .port = port_, .report = [](const auto&) {}},
        *fleet_, *issuer_, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    port_ = server_->port();
  }

  std::string Token(const std::string& vm) {
    const absl::StatusOr<NewJoinToken> made =
        access_->CreateJoinToken(owner_, Scope::Of(Vm(vm)), "west", 1, absl::Hours(1));
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? made->secret : "";
  }

  std::unique_ptr<TestAgent> Agent(const std::string& token) {
    return std::make_unique<TestAgent>(absl::StrCat("127.0.0.1:", port_), issuer_->authorities(),
                                       token);
  }

  void PutPolicy() {
    const PortRule ssh = {
        .number = 22, .protocol = RuleProtocol::kTcp, .max_duration = absl::Hours(3)};
    const absl::StatusOr<PolicyView> made =
        access_->PutPolicy(owner_, {.id = policy_, .vms = {{.id = Vm("web-1"), .ports = {ssh}}}});
    ASSERT_TRUE(made.ok()) << made.status();
  }

  Request Ask(const std::string& source, absl::Duration duration) {
    const AskedPort port = {.number = 22,
                            .duration = duration,
                            .sources = Sources{.prefixes = {*Prefix::Parse(source)}}};
    absl::StatusOr<Request> request =
        access_->Initiate(owner_, policy_, {.vms = {{.id = Vm("web-1"), .ports = {port}}}});
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *std::move(request) : Request{};
  }

  RequestedPort PortOf(const Request& request) {
    return access_->GetRequest(owner_, request.id)->ports[0];
  }

  bool Becomes(const Request& request, PortStatus status) {
    return Eventually([&] { return PortOf(request).status == status; });
  }

  const Caller owner_ = {.principal = "owner"};
  const PolicyId policy_ = {.subscription = kSubscription,
                            .resource_group = "web",
                            .location = "west",
                            .name = "default"};
  const TemporaryDirectory directory_;
  SystemClock clock_;
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<Issuer> issuer_;
  std::unique_ptr<AccessService> access_;
  std::unique_ptr<FleetService> fleet_;
  // Goes before what it serves from.
  std::unique_ptr<FleetServer> server_;
  uint16_t port_ = 0;
};

TEST_F(AttachTest, ARequestOpensTheGateAndItsEndClosesIt) {
  const std::unique_ptr<TestAgent> agent = Agent(Token("web-1"));
  ASSERT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  EXPECT_TRUE(Becomes(request, PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
  EXPECT_FALSE(agent->Admits("203.0.113.8"));
  ASSERT_TRUE(access_->EndRequest(owner_, request.id, "done").ok());
  EXPECT_TRUE(Eventually([&] { return !agent->Admits("203.0.113.7"); }));
}

TEST_F(AttachTest, WhatTheAgentRefusesComesBackAsTheReason) {
  const std::unique_ptr<TestAgent> agent = Agent(Token("web-1"));
  ASSERT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
  PutPolicy();
  // The agent allows two hours.
  const Request request = Ask("203.0.113.7", absl::Hours(3));
  EXPECT_TRUE(Becomes(request, PortStatus::kRevoked));
  EXPECT_EQ(PortOf(request).reason, EndReason::kRefusedByAgent);
  EXPECT_THAT(PortOf(request).detail, HasSubstr("2h"));
}

TEST_F(AttachTest, ARequestThatIsMadeWhileTheAgentIsAwayIsAppliedOnItsReturn) {
  std::unique_ptr<TestAgent> agent = Agent(Token("web-1"));
  ASSERT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
  PutPolicy();
  const Request before = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(before, PortStatus::kInitiated));
  server_.reset();
  ASSERT_TRUE(Eventually([&] { return !agent->state().attached; }));
  // Losing the controller changes nothing.
  EXPECT_TRUE(agent->Admits("203.0.113.7"));
  const Request meanwhile = Ask("203.0.113.8", absl::Hours(1));
  EXPECT_EQ(PortOf(meanwhile).status, PortStatus::kInitiating);
  StartServer();
  EXPECT_TRUE(Becomes(meanwhile, PortStatus::kInitiated));
  EXPECT_TRUE(agent->Admits("203.0.113.8"));
  // The same person, the same port: the newer one stands.
  EXPECT_TRUE(Eventually([&] { return !agent->Admits("203.0.113.7"); }));
}

TEST_F(AttachTest, AnExtensionAndAMoveKeepTheGrant) {
  const std::unique_ptr<TestAgent> agent = Agent(Token("web-1"));
  ASSERT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(Becomes(request, PortStatus::kInitiated));
  ASSERT_TRUE(access_->ExtendRequest(owner_, request.id, absl::Minutes(30)).ok());
  ASSERT_TRUE(
      access_->MoveRequest(owner_, request.id, {.prefixes = {*Prefix::Parse("203.0.113.9")}}).ok());
  EXPECT_TRUE(Eventually([&] { return agent->Admits("203.0.113.9"); }));
  EXPECT_FALSE(agent->Admits("203.0.113.7"));
  const std::string id = request.ports[0].grant_id;
  EXPECT_TRUE(Eventually([&] {
    const absl::Time end =
        agent->On<absl::Time>([&](Gatekeeper& gatekeeper) { return gatekeeper.Get(id)->end; });
    return end > clock_.Read().wall + absl::Minutes(80);
  }));
}

TEST_F(AttachTest, AWrongTokenLetsNobodyInAndIsSaid) {
  const std::unique_ptr<TestAgent> agent = Agent("postern-join-wrong");
  EXPECT_TRUE(Eventually([&] {
    return agent->state().problem.find("join token") != std::string::npos;
  })) << agent->state().problem;
  EXPECT_FALSE(agent->state().attached);
}

TEST_F(AttachTest, AVmThatWasRemovedIsTurnedAway) {
  const std::unique_ptr<TestAgent> agent = Agent(Token("web-1"));
  ASSERT_TRUE(Eventually([&] { return agent->state().attached; })) << agent->state().problem;
  ASSERT_EQ(access_->RemoveVm(owner_, Vm("web-1")), absl::OkStatus());
  EXPECT_TRUE(Eventually([&] {
    return agent->state().problem.find("not known") != std::string::npos;
  })) << agent->state().problem;
}

}  // namespace
}  // namespace postern::controller
