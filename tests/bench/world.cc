#include "tests/bench/world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "agent/grants/decide.h"
#include "agent/store/sqlite_store.h"
#include "common/clock.h"
#include "common/status.h"
#include "common/uuid.h"

namespace postern::bench {
namespace {

constexpr char kSan[] = "spiffe://postern/controller/bench";
constexpr char kServerName[] = "bench.test";
constexpr uint16_t kPort = 7443;
constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr char kConfig[] = R"(limits: {max_live_grants: 1000000}
state_dir: %1/state
socket: %1/agent.sock
listen:
  address: "[::]:7443"
  from: [192.0.2.0/24, 198.51.100.0/24]
  tls: {cert: ../server.pem, key: ../server.key, ca: ../ca.pem}
  peers:
    - {san: "spiffe://postern/controller/bench", role: controller}
)";

absl::Status WriteFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

std::string TextOf(uint32_t address) {
  char text[INET_ADDRSTRLEN];
  const in_addr bytes = {.s_addr = htonl(address)};
  return inet_ntop(AF_INET, &bytes, text, sizeof text);
}

// A ledger as an agent would have left it.
absl::Status FillLedger(const std::string& path, int live_grants) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<SqliteStore> store, SqliteStore::Open(path));
  const Limits limits;
  const std::string boot = SystemClock().BootId();
  const Now now = SystemClock().Read();
  // In 11.0.0.0/8; NewGrant's are in 10.0.0.0/8.
  constexpr uint32_t kFirstSource = uint32_t{11} << 24;
  std::vector<Write> writes;
  for (int i = 1; i <= live_grants; ++i) {
    GrantRequest request;
    request.id = NewUuid();
    POSTERN_ASSIGN_OR_RETURN(const Address source,
                             Address::Parse(TextOf(kFirstSource + static_cast<uint32_t>(i))));
    request.sources = {Prefix::Host(source)};
    request.ports = {{.number = 22, .tcp = true, .udp = false}};
    request.duration = absl::Hours(2);
    request.requestor = "alice";
    request.justification = "deploy 142";
    POSTERN_ASSIGN_OR_RETURN(
        Grant grant, DecideCreate(request, kSan, {.limits = limits, .now = now, .live_grants = 0}));
    grant.sequence = i;
    grant.boot_id = boot;
    writes.push_back({.put = std::move(grant), .erase = std::nullopt, .audit = std::nullopt});
  }
  return writes.empty() ? absl::OkStatus() : store->Commit(writes);
}

bool Answers(const std::string& address) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(kPort);
  inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
}

absl::Status WaitUntilItServes(const Process& process, const std::string& address) {
  const absl::Time end = absl::Now() + kPatience;
  while (!Answers(address)) {
    POSTERN_RETURN_IF_ERROR(process.Alive());
    if (absl::Now() > end) return absl::DeadlineExceededError("the server does not answer");
    absl::SleepFor(absl::Milliseconds(10));
  }
  return absl::OkStatus();
}

absl::Status FromGrpc(const grpc::Status& status, const char* call) {
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(call, ": ", status.error_message()));
}

}  // namespace

// ---- Client

absl::StatusOr<v1::Grant> Client::Create(const v1::CreateGrantRequest& request) {
  grpc::ClientContext context;
  v1::Grant grant;
  POSTERN_RETURN_IF_ERROR(FromGrpc(stub_->CreateGrant(&context, request, &grant), "CreateGrant"));
  return grant;
}

absl::Status Client::Revoke(const std::string& id, bool keep_sessions) {
  grpc::ClientContext context;
  v1::RevokeGrantRequest request;
  request.set_id(id);
  request.set_keep_sessions(keep_sessions);
  v1::Grant grant;
  return FromGrpc(stub_->RevokeGrant(&context, request, &grant), "RevokeGrant");
}

v1::CreateGrantRequest NewGrant() {
  static std::atomic<uint32_t> next_source{uint32_t{10} << 24 | uint32_t{1} << 23};
  v1::CreateGrantRequest request;
  request.set_id(NewUuid());
  request.add_source_prefixes(absl::StrCat(TextOf(next_source++), "/32"));
  v1::Port& port = *request.add_ports();
  port.set_number(22);
  port.set_protocol(v1::TCP);
  request.mutable_duration()->set_seconds(3600);
  request.set_requestor("alice");
  request.set_justification("deploy 142");
  return request;
}

// ---- World

absl::StatusOr<std::unique_ptr<World>> World::Create(const std::string& directory,
                                                     const std::string& posternd) {
  std::unique_ptr<World> world(new World(directory, posternd));
  POSTERN_RETURN_IF_ERROR(world->MakeNetwork());
  POSTERN_RETURN_IF_ERROR(world->MakeCertificates());
  if (setns(world->controller_->fd(), CLONE_NEWNET) < 0) {
    return ErrnoStatus(errno, "enter the controller's network namespace");
  }
  return world;
}

absl::Status World::MakeNetwork() {
  for (std::unique_ptr<Namespace>* place : {&agent_, &floor_, &controller_, &visitor_}) {
    POSTERN_ASSIGN_OR_RETURN(*place, Namespace::Create());
  }
  POSTERN_RETURN_IF_ERROR(agent_->Connect("controller", *controller_, "agent"));
  POSTERN_RETURN_IF_ERROR(floor_->Connect("controller", *controller_, "floor"));
  POSTERN_RETURN_IF_ERROR(agent_->Connect("visitor", *visitor_, "agent"));
  POSTERN_RETURN_IF_ERROR(agent_->AddAddress("controller", absl::StrCat(kAgentAddress, "/24")));
  POSTERN_RETURN_IF_ERROR(controller_->AddAddress("agent", "192.0.2.2/24"));
  POSTERN_RETURN_IF_ERROR(floor_->AddAddress("controller", absl::StrCat(kFloorAddress, "/24")));
  POSTERN_RETURN_IF_ERROR(controller_->AddAddress("floor", "198.51.100.2/24"));
  POSTERN_RETURN_IF_ERROR(agent_->AddAddress("visitor", absl::StrCat(kAgentToVisitors, "/24")));
  POSTERN_RETURN_IF_ERROR(visitor_->AddAddress("agent", "203.0.113.2/24"));
  POSTERN_RETURN_IF_ERROR(agent_->Ip({"route", "add", "10.0.0.0/8", "via", "203.0.113.2"}));
  return visitor_->Ip({"route", "add", "local", "10.0.0.0/8", "dev", "lo"});
}

absl::Status World::MakeCertificates() {
  const Identity server = authority_.Issue({.names = {absl::StrCat("DNS:", kServerName)}});
  controller_identity_ = authority_.Issue({.names = {absl::StrCat("URI:", kSan)}});
  POSTERN_RETURN_IF_ERROR(WriteFile(Path("ca.pem"), authority_.cert()));
  POSTERN_RETURN_IF_ERROR(WriteFile(Path("server.pem"), server.cert));
  POSTERN_RETURN_IF_ERROR(WriteFile(Path("server.key"), server.key));
  std::error_code error;
  std::filesystem::permissions(Path("server.key"), std::filesystem::perms::owner_read, error);
  return error ? ErrnoStatus(error.value(), Path("server.key")) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Process>> World::StartAgent(const Namespace& where,
                                                           const std::string& name,
                                                           int live_grants) {
  const std::string home = Path(name);
  std::error_code error;
  std::filesystem::create_directories(absl::StrCat(home, "/state"), error);
  if (error) return ErrnoStatus(error.value(), home);
  POSTERN_RETURN_IF_ERROR(
      Annotate(FillLedger(absl::StrCat(home, "/state/ledger.db"), live_grants), "the ledger"));
  const std::string config = absl::StrCat(home, "/agent.yaml");
  POSTERN_RETURN_IF_ERROR(WriteFile(config, absl::StrReplaceAll(kConfig, {{"%1", home}})));
  POSTERN_ASSIGN_OR_RETURN(
      std::unique_ptr<Process> process,
      Process::Start(where, {posternd_, "--config", config}, absl::StrCat(home, "/log")));
  POSTERN_RETURN_IF_ERROR(
      WaitUntilItServes(*process, &where == agent_.get() ? kAgentAddress : kFloorAddress));
  return process;
}

absl::StatusOr<std::unique_ptr<Process>> World::StartEcho() {
  POSTERN_ASSIGN_OR_RETURN(
      std::unique_ptr<Process> process,
      Process::Start(*floor_,
                     {ECHO_SERVER_PATH, absl::StrCat(kFloorAddress, ":", kPort), Path("server.pem"),
                      Path("server.key"), Path("ca.pem")},
                     Path("echo.log")));
  POSTERN_RETURN_IF_ERROR(WaitUntilItServes(*process, kFloorAddress));
  return process;
}

absl::StatusOr<std::unique_ptr<Client>> World::Connect(const std::string& address) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority_.cert();
  options.pem_cert_chain = controller_identity_.cert;
  options.pem_private_key = controller_identity_.key;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kServerName);
  // Otherwise channels to one address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      absl::StrCat(address, ":", kPort), grpc::SslCredentials(options), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    return absl::DeadlineExceededError(absl::StrCat(address, ": no connection"));
  }
  return std::make_unique<Client>(std::move(channel));
}

}  // namespace postern::bench
