#include "tests/unit/rpc/test_agent.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/uuid.h"

namespace postern {
namespace {

constexpr std::chrono::seconds kPatience{20};

GatekeeperOptions OptionsOf(const Config& config) {
  GateOptions gate;
  gate.ports = config.limits.guarded_ports;
  gate.trusted_interfaces = config.trusted_interfaces;
  return {.gate = gate, .limits = config.limits};
}

uint16_t PortOf(int listener) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  return address.sin_family == AF_INET ? ntohs(address.sin_port) : 0;
}

}  // namespace

TestAgent::TestAgent() : stop_(eventfd(0, EFD_CLOEXEC)) {
  const Identity agent = authority.Issue({.names = {absl::StrCat("DNS:", kAgentName)}});
  config.socket = directory.Path("agent.sock");
  config.listen = ListenConfig{
      .address = *Address::Parse("127.0.0.1"),
      .port = 0,
      .from = {},
      .tls = {.cert = directory.Write("agent.pem", agent.cert),
              .key = directory.Write("agent.key", agent.key),
              .ca = directory.Write("ca.pem", authority.cert())},
      .peers = {{.san = kControllerSan, .role = Role::kController},
                {.san = kOperatorSan, .role = Role::kOperator},
                {.san = kViewerSan, .role = Role::kViewer}},
  };
  gatekeeper_ = std::make_unique<Gatekeeper>(
      OptionsOf(config), Gatekeeper::Collaborators{
                             .clock = clock,
                             .store = store,
                             .firewall = firewall,
                             .sessions = sessions,
                             .announce =
                                 [this](const AuditEvent& event) {
                                   if (server != nullptr) server->Announce(event);
                                 },
                             .report = [](const absl::Status& status) { ADD_FAILURE() << status; },
                         });
  EXPECT_EQ(gatekeeper_->Start(), absl::OkStatus());
  absl::StatusOr<std::unique_ptr<RpcServer>> started =
      RpcServer::Start(config, {.version = "1.2.3", .warnings = {"a warning"}}, mailbox_);
  if (!started.ok()) {
    ADD_FAILURE() << started.status();
    std::abort();
  }
  server = *std::move(started);
  for (const int fd : server->listeners()) {
    if (const uint16_t port = PortOf(fd); port != 0) remote_port_ = port;
  }
  loop_ = std::thread([this] { Loop(); });
}

TestAgent::~TestAgent() { Stop(); }

void TestAgent::Stop() {
  if (!loop_.joinable()) return;
  const uint64_t one = 1;
  EXPECT_EQ(write(stop_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
  loop_.join();
  server.reset();
}

std::vector<int> TestAgent::Watched() const {
  std::vector<int> watched = server->listeners();
  watched.push_back(mailbox_.fd());
  watched.push_back(stop_.get());
  return watched;
}

void TestAgent::Loop() {
  const std::vector<int> watched = Watched();
  for (;;) {
    std::vector<pollfd> fds;
    for (const int fd : watched) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    poll(fds.data(), fds.size(), -1);
    for (const pollfd& ready : fds) {
      if (ready.revents == 0) continue;
      if (ready.fd == stop_.get()) return;
      if (ready.fd == mailbox_.fd()) {
        mailbox_.Drain(*gatekeeper_);
      } else {
        server->Accept(ready.fd);
      }
    }
  }
}

void TestAgent::OnLoop(const std::function<void(Gatekeeper&)>& f) {
  std::promise<void> done;
  ASSERT_EQ(mailbox_.Ask([&](Gatekeeper& gatekeeper) {
    f(gatekeeper);
    done.set_value();
  }),
            absl::OkStatus());
  done.get_future().wait();
}

void TestAgent::PauseLoop() {
  auto paused = std::make_shared<std::promise<void>>();
  auto resumed = std::make_shared<std::promise<void>>();
  ASSERT_EQ(mailbox_.Ask([paused, resumed](Gatekeeper&) {
    paused->set_value();
    resumed->get_future().wait();
  }),
            absl::OkStatus());
  paused->get_future().wait();
  resume_ = [resumed] { resumed->set_value(); };
}

void TestAgent::ResumeLoop() { resume_(); }

std::string TestAgent::remote_address() const { return absl::StrCat("127.0.0.1:", remote_port_); }

std::shared_ptr<grpc::Channel> TestAgent::Remote(const Identity& client) const {
  return Remote(client, authority.cert());
}

std::shared_ptr<grpc::Channel> TestAgent::Remote(const Identity& client,
                                                 const std::string& ca) const {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ca;
  options.pem_cert_chain = client.cert;
  options.pem_private_key = client.key;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kAgentName);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What a client does not read stays with the agent.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
  return grpc::CreateCustomChannel(remote_address(), grpc::SslCredentials(options), arguments);
}

std::shared_ptr<grpc::Channel> TestAgent::Local() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix:" + config.socket, grpc::InsecureChannelCredentials(),
                                   arguments);
}

void TestAgent::MakeGrants(int count, const std::string& justification) {
  OnLoop([&](Gatekeeper& gatekeeper) {
    std::vector<Command> commands;
    for (int i = 0; i < count; ++i) {
      GrantRequest request;
      request.id = NewUuid();
      request.sources = {*Prefix::Parse("203.0.113.7/32")};
      request.ports = {{.number = 22, .tcp = true, .udp = false}};
      request.duration = absl::Hours(1);
      request.justification = justification;
      commands.push_back({.request = CreateGrant{.request = std::move(request)},
                          .actor = "test",
                          .done = [](const absl::StatusOr<Grant>& grant) {
                            EXPECT_TRUE(grant.ok()) << grant.status();
                          }});
    }
    gatekeeper.Execute(std::move(commands));
  });
}

void TestAgent::Knock(absl::string_view source, absl::Duration ago) {
  OnLoop([&](Gatekeeper& gatekeeper) {
    const Address address = Address::Parse(source).value();
    const AccessKey key = {.source = Prefix::Host(address), .protocol = Protocol::kTcp, .port = 22};
    const std::string set = DeniedSetName(address.family, gatekeeper.enforces());
    firewall.Tamper().denied_sets.at(set).push_back({key, kDeniedFor - ago, {3, 180}});
  });
}

size_t TestAgent::EventCount() {
  size_t count = 0;
  OnLoop([&](Gatekeeper&) { count = store.audit().size(); });
  return count;
}

v1::CreateGrantRequest NewGrant() {
  v1::CreateGrantRequest request;
  request.set_id(NewUuid());
  request.add_source_prefixes("203.0.113.7/32");
  v1::Port& port = *request.add_ports();
  port.set_number(22);
  port.set_protocol(v1::TCP);
  request.mutable_duration()->set_seconds(3600);
  return request;
}

Fd ConnectTo(const std::string& path) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fd.Reset();
  }
  return fd;
}

Fd ConnectTo(uint16_t loopback_port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(loopback_port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fd.Reset();
  }
  return fd;
}

Answer Create(v1::AgentService::Stub& stub, const v1::CreateGrantRequest& request) {
  Answer answer;
  answer.status = stub.CreateGrant(NewContext().get(), request, &answer.grant);
  return answer;
}

grpc::Status GetStatus(v1::AgentService::Stub& stub, v1::GetStatusResponse* response) {
  v1::GetStatusResponse unused;
  return stub.GetStatus(NewContext().get(), {}, response == nullptr ? &unused : response);
}

std::unique_ptr<grpc::ClientContext> NewContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

}  // namespace postern
