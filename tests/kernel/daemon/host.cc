#include "tests/kernel/daemon/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kServerName[] = "agent.test";
constexpr char kClientAddress[] = "192.0.2.2";

constexpr char kConfig[] = R"(state_dir: state
socket: agent.sock
listen:
  address: "[::]:7443"
  from: [192.0.2.0/24, 10.0.0.0/8]
  tls: {cert: agent.pem, key: agent.key, ca: ca.pem}
  peers:
    - {san: "spiffe://example.org/postern/controller", role: controller}
)";

// The main thread's, for as long as the process runs: gRPC's threads come from
// it and dial from where they are.
absl::StatusOr<Namespace*> ClientNetwork() {
  static std::unique_ptr<Namespace> network;
  if (network != nullptr) return network.get();
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Namespace> made, Namespace::Create());
  POSTERN_RETURN_IF_ERROR(made->Ip({"route", "add", "local", "10.0.0.0/8", "dev", "lo"}));
  if (setns(made->fd(), CLONE_NEWNET) < 0) {
    return ErrnoStatus(errno, "enter the clients' network namespace");
  }
  // What the tests mount is nobody else's, and gone with this process.
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
    return ErrnoStatus(errno, "make a mount namespace");
  }
  network = std::move(made);
  return network.get();
}

sockaddr_in At(const std::string& address, uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  return at;
}

absl::StatusOr<Fd> Bound(int type, const std::string& address, uint16_t port) {
  Fd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in at = At(address, port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bind a socket to ", address));
  }
  return fd;
}

bool Awaits(int fd, int16_t events, absl::Duration patience) {
  pollfd awaited{.fd = fd, .events = events, .revents = 0};
  return poll(&awaited, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) == 1;
}

}  // namespace

// ---- Making and unmaking

DaemonHost::DaemonHost() = default;

DaemonHost::~DaemonHost() {
  daemon_.reset();
  // The kernel takes its time with a namespace; the next host needs the addresses.
  const absl::StatusOr<Namespace*> client = ClientNetwork();
  if (client.ok() && !cable_.empty()) (*client)->Ip({"link", "delete", cable_}).IgnoreError();
}

absl::StatusOr<std::unique_ptr<DaemonHost>> DaemonHost::Create() {
  std::unique_ptr<DaemonHost> host(new DaemonHost);
  POSTERN_RETURN_IF_ERROR(Annotate(host->MakeNetwork(), "making the network"));
  host->WriteFiles();
  absl::StatusOr<std::unique_ptr<NftFirewall>> firewall = absl::InternalError("not opened");
  host->network_->Run([&] { firewall = NftFirewall::Open(); });
  POSTERN_RETURN_IF_ERROR(firewall.status());
  host->firewall_ = *std::move(firewall);
  return host;
}

absl::Status DaemonHost::MakeNetwork() {
  static int hosts = 0;
  POSTERN_ASSIGN_OR_RETURN(Namespace* const client, ClientNetwork());
  POSTERN_ASSIGN_OR_RETURN(network_, Namespace::Create());
  cable_ = absl::StrCat("host", ++hosts);
  POSTERN_RETURN_IF_ERROR(network_->Connect("client", *client, cable_));
  POSTERN_RETURN_IF_ERROR(network_->AddAddress("client", absl::StrCat(kHostAddress, "/24")));
  POSTERN_RETURN_IF_ERROR(client->AddAddress(cable_, absl::StrCat(kClientAddress, "/24")));
  return network_->Ip({"route", "add", "10.0.0.0/8", "via", kClientAddress});
}

void DaemonHost::WriteFiles() {
  const Identity agent = authority_.Issue({.names = {absl::StrCat("DNS:", kServerName)}});
  controller_ = authority_.Issue({.names = {absl::StrCat("URI:", kControllerSan)}});
  files_.Write("agent.pem", agent.cert);
  files_.Write("agent.key", agent.key);
  files_.Write("ca.pem", authority_.cert());
  files_.Write("agent.yaml", kConfig);
}

// ---- The daemon

void DaemonHost::Configure(const std::string& yaml) const {
  std::error_code ignored;
  std::filesystem::create_directory(files_.Path("agent.yaml.d"), ignored);
  files_.Write("agent.yaml.d/test.yaml", yaml);
}

absl::Status DaemonHost::Launch(const std::vector<std::string>& arguments) {
  daemon_.reset();
  std::vector<std::string> command = {POSTERND_PATH, "--config", config_path()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  POSTERN_ASSIGN_OR_RETURN(daemon_, Process::Start(*network_, command, files_.Path("log")));
  return absl::OkStatus();
}

absl::Status DaemonHost::Start() {
  POSTERN_RETURN_IF_ERROR(Launch());
  POSTERN_RETURN_IF_ERROR(AwaitAnswer());
  // The local socket is the first of the two.
  return AwaitLog(R"("POSTERN_EVENT":"AGENT_STARTED")");
}

bool DaemonHost::Answers() const {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

absl::Status DaemonHost::AwaitAnswer() const {
  const absl::Time end = absl::Now() + kPatience;
  while (!Answers()) {
    POSTERN_RETURN_IF_ERROR(daemon_->Alive());
    if (absl::Now() > end) {
      return absl::DeadlineExceededError(
          absl::StrCat("the daemon does not answer; it said:\n", daemon_->Log()));
    }
    absl::SleepFor(absl::Milliseconds(1));
  }
  return absl::OkStatus();
}

absl::Status DaemonHost::AwaitLog(const std::string& text) const {
  const absl::Time end = absl::Now() + kPatience;
  while (!absl::StrContains(daemon_->Log(), text)) {
    if (absl::Now() > end) {
      return absl::DeadlineExceededError(
          absl::StrCat("its log does not say \"", text, "\":\n", daemon_->Log()));
    }
    absl::SleepFor(absl::Milliseconds(2));
  }
  return absl::OkStatus();
}

// ---- Clients

std::unique_ptr<v1::AgentService::Stub> DaemonHost::Local() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::AgentService::NewStub(grpc::CreateCustomChannel(
      "unix:" + socket_path(), grpc::InsecureChannelCredentials(), arguments));
}

std::shared_ptr<grpc::Channel> DaemonHost::RemoteChannel() const {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority_.cert();
  options.pem_cert_chain = controller_.cert;
  options.pem_private_key = controller_.key;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kServerName);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What a client does not read stays with the agent.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
  return grpc::CreateCustomChannel(absl::StrCat(kHostAddress, ":", kAgentPort),
                                   grpc::SslCredentials(options), arguments);
}

// ---- Packets

absl::StatusOr<Fd> DaemonHost::ClientSocket(int type, const std::string& source) {
  return Bound(type, source, 0);
}

absl::StatusOr<Fd> DaemonHost::HostSocket(int type, uint16_t port) const {
  const Inside inside(*network_);
  POSTERN_RETURN_IF_ERROR(inside.status());
  return Bound(type, "0.0.0.0", port);
}

bool DaemonHost::Session::Carries() const {
  char byte = 'x';
  if (send(client.get(), &byte, 1, MSG_NOSIGNAL) != 1) return false;
  return Awaits(host.get(), POLLIN, kSilence) && recv(host.get(), &byte, 1, 0) == 1;
}

absl::StatusOr<DaemonHost::Session> DaemonHost::OpenSession(const std::string& source,
                                                            uint16_t port) const {
  POSTERN_ASSIGN_OR_RETURN(const Fd listener, HostSocket(SOCK_STREAM, port));
  if (listen(listener.get(), 1) != 0) return ErrnoStatus(errno, "listen");
  Session session;
  POSTERN_ASSIGN_OR_RETURN(session.client, ClientSocket(SOCK_STREAM, source));
  const sockaddr_in to = At(kHostAddress, port);
  connect(session.client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  if (!Awaits(listener.get(), POLLIN, kPatience)) {
    return absl::DeadlineExceededError("nobody connects");
  }
  session.host = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  return session;
}

bool DaemonHost::Admits(const std::string& source, uint16_t port) const {
  const absl::StatusOr<Fd> receiver = HostSocket(SOCK_DGRAM, port);
  const absl::StatusOr<Fd> sender = ClientSocket(SOCK_DGRAM, source);
  if (!receiver.ok() || !sender.ok()) return false;
  const sockaddr_in to = At(kHostAddress, port);
  const char byte = 'x';
  if (sendto(sender->get(), &byte, 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 1) {
    return false;
  }
  return Awaits(receiver->get(), POLLIN, kSilence);
}

}  // namespace postern
