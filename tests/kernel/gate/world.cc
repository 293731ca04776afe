#include "tests/kernel/gate/world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace postern {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress At(absl::string_view text, uint16_t port) {
  const Address address = A(text);
  SocketAddress at;
  if (address.family == Family::kIpv4) {
    auto* four = reinterpret_cast<sockaddr_in*>(&at.storage);
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    std::copy_n(address.bytes.begin(), 4, reinterpret_cast<uint8_t*>(&four->sin_addr));
    at.length = sizeof *four;
  } else {
    auto* six = reinterpret_cast<sockaddr_in6*>(&at.storage);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    std::copy_n(address.bytes.begin(), 16, six->sin6_addr.s6_addr);
    at.length = sizeof *six;
  }
  return at;
}

bool Ready(int fd, int16_t events, absl::Duration patience) {
  pollfd wait{.fd = fd, .events = events, .revents = 0};
  return poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) == 1;
}

Fd NewSocket(absl::string_view to, int type) {
  const int family = A(to).family == Family::kIpv4 ? AF_INET : AF_INET6;
  return Fd(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

void GateWorld::SetUp() {
  for (std::unique_ptr<Namespace>* place : {&host_, &friend_, &stranger_}) {
    absl::StatusOr<std::unique_ptr<Namespace>> made = Namespace::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    *place = *std::move(made);
  }
  ASSERT_TRUE(host_->Connect("friend0", *friend_, "eth0").ok());
  ASSERT_TRUE(host_->Connect("stranger0", *stranger_, "eth0").ok());
  const auto add = [](const Namespace& where, const char* interface, const char* address,
                      const char* length) {
    const absl::Status status = where.AddAddress(interface, absl::StrCat(address, length));
    ASSERT_TRUE(status.ok()) << status;
  };
  add(*host_, "friend0", kHost4, "/24");
  add(*host_, "friend0", kHost6, "/64");
  add(*host_, "stranger0", kHostToStranger4, "/24");
  add(*host_, "stranger0", kHostToStranger6, "/64");
  add(*friend_, "eth0", kFriend4, "/24");
  add(*friend_, "eth0", kFriend6, "/64");
  add(*stranger_, "eth0", kStranger4, "/24");
  add(*stranger_, "eth0", kStranger6, "/64");

  std::string pattern = absl::StrCat(::testing::TempDir(), "postern-gate-XXXXXX");
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
  options_.gate.ports = options_.limits.guarded_ports;
  for (const uint16_t port : options_.limits.guarded_ports) Listen(port);
}

void GateWorld::TearDown() {
  KillGate();
  if (!directory_.empty()) std::filesystem::remove_all(directory_);
}

void GateWorld::StartGate() {
  absl::StatusOr<std::unique_ptr<SqliteStore>> store =
      SqliteStore::Open(absl::StrCat(directory_, "/ledger.db"));
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  host_->Run([&] {
    absl::StatusOr<std::unique_ptr<NftFirewall>> firewall = NftFirewall::Open();
    ASSERT_TRUE(firewall.ok()) << firewall.status();
    if (!protect_) {
      nft::Capabilities less = (*firewall)->capabilities();
      less.protects_tables = false;
      firewall = NftFirewall::Open(less);
      ASSERT_TRUE(firewall.ok()) << firewall.status();
    }
    firewall_ = *std::move(firewall);
    absl::StatusOr<std::unique_ptr<nft::Watcher>> watcher = nft::Watcher::Open(firewall_->port());
    ASSERT_TRUE(watcher.ok()) << watcher.status();
    watcher_ = *std::move(watcher);
    absl::StatusOr<std::unique_ptr<KernelSessions>> sessions = KernelSessions::Open();
    ASSERT_TRUE(sessions.ok()) << sessions.status();
    sessions_ = *std::move(sessions);
  });
  ASSERT_NE(sessions_, nullptr);
  gatekeeper_ = std::make_unique<Gatekeeper>(
      options_, Gatekeeper::Collaborators{
                    .clock = clock_,
                    .store = *store_,
                    .firewall = *firewall_,
                    .sessions = *sessions_,
                    .announce = [](const AuditEvent&) {},
                    .report = [](const absl::Status& status) { ADD_FAILURE() << status; }});
  const absl::Status started = gatekeeper_->Start();
  ASSERT_TRUE(started.ok()) << started;
}

bool GateWorld::HearOfTable(absl::Duration patience) {
  if (!Ready(watcher_->fd(), POLLIN, patience)) return false;
  const absl::StatusOr<std::optional<TableChange>> change = watcher_->Read();
  EXPECT_TRUE(change.ok()) << change.status();
  if (!change.ok() || !change->has_value()) return false;
  gatekeeper_->OnTableChanged(**change);
  return true;
}

void GateWorld::KillGate() {
  gatekeeper_.reset();
  watcher_.reset();
  sessions_.reset();
  firewall_.reset();
  store_.reset();
}

absl::StatusOr<Grant> GateWorld::Do(
    std::variant<CreateGrant, ExtendGrant, MoveGrant, RevokeGrant> change) {
  absl::StatusOr<Grant> answer = absl::InternalError("not answered");
  std::vector<Command> commands;
  commands.push_back({.request = std::move(change),
                      .actor = "test",
                      .done = [&](absl::StatusOr<Grant> grant) { answer = std::move(grant); }});
  gatekeeper_->Execute(std::move(commands));
  return answer;
}

Grant GateWorld::Allow(int id, absl::string_view source, Port port, absl::Duration duration,
                       OnExpiry on_expiry) {
  GrantRequest request = Request(id);
  request.sources = {P(source)};
  request.ports = {port};
  request.duration = duration;
  request.on_expiry = on_expiry;
  const absl::StatusOr<Grant> grant = Do(CreateGrant{request});
  EXPECT_TRUE(grant.ok()) << grant.status();
  return grant.value_or(Grant{});
}

void GateWorld::Extend(int id, absl::Duration by) {
  const absl::Status status = Do(ExtendGrant{Id(id), by}).status();
  EXPECT_TRUE(status.ok()) << status;
}

void GateWorld::Move(int id, absl::string_view to) {
  const absl::Status status = Do(MoveGrant{Id(id), {P(to)}}).status();
  EXPECT_TRUE(status.ok()) << status;
}

void GateWorld::Revoke(int id, bool keep_sessions) {
  const absl::Status status = Do(RevokeGrant{Id(id), keep_sessions, ""}).status();
  EXPECT_TRUE(status.ok()) << status;
}

void GateWorld::WaitForEnd(const Grant& grant, bool daemon_alive) {
  // The kernel ends access up to two ticks after the end; a tick is 10 ms at the
  // most.
  const absl::Duration slack = absl::Milliseconds(25);
  absl::SleepFor(grant.deadline - clock_.Read().boot);
  // As its loop does: the alarm may be due again at once.
  constexpr int kMostAlarms = 10;
  for (int rung = 0; daemon_alive && rung < kMostAlarms; ++rung) {
    gatekeeper_->OnAlarm();
    const std::optional<BootTime> next = gatekeeper_->NextAlarm();
    if (!next || *next > clock_.Read().boot) break;
  }
  absl::SleepFor(grant.deadline + slack - clock_.Read().boot);
}

void GateWorld::Listen(uint16_t port) {
  Fd fd = Bind(*host_, "::", port, SOCK_STREAM);
  EXPECT_EQ(listen(fd.get(), 64), 0);
  listeners_.emplace_back(port, std::move(fd));
}

Fd GateWorld::Bind(const Namespace& where, absl::string_view address, uint16_t port, int type) {
  Fd fd;
  where.Run([&] {
    fd = NewSocket(address, type);
    const int on = 1;
    if (type == SOCK_STREAM) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const SocketAddress at = At(address, port);
    EXPECT_EQ(bind(fd.get(), at.get(), at.length), 0) << address << " port " << port;
  });
  return fd;
}

Fd GateWorld::Connect(const Namespace& from, absl::string_view to, uint16_t port,
                      absl::Duration patience) {
  Fd fd;
  from.Run([&] { fd = NewSocket(to, SOCK_STREAM); });
  return Connect(fd, to, port, patience) ? std::move(fd) : Fd();
}

bool GateWorld::Connect(const Fd& fd, absl::string_view to, uint16_t port,
                        absl::Duration patience) {
  const SocketAddress at = At(to, port);
  if (connect(fd.get(), at.get(), at.length) != 0 && errno != EINPROGRESS) return false;
  if (!Ready(fd.get(), POLLOUT, patience)) return false;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0;
}

bool GateWorld::TcpPasses(const Namespace& from, absl::string_view to, uint16_t port,
                          absl::Duration patience) {
  EmptyBacklogs();
  return static_cast<bool>(Connect(from, to, port, patience));
}

void GateWorld::EmptyBacklogs() {
  for (const auto& [port, listener] : listeners_) {
    while (Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK))) {
    }
  }
}

bool GateWorld::UdpPasses(const Namespace& from, absl::string_view to, uint16_t port, size_t size,
                          absl::Duration patience) {
  const char* any = A(to).family == Family::kIpv4 ? "0.0.0.0" : "::";
  const Fd receiver = Bind(*host_, any, port, SOCK_DGRAM);
  Fd sender;
  from.Run([&] { sender = NewSocket(to, SOCK_DGRAM); });
  const int on = 1;
  setsockopt(sender.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  const std::string data(size, 'x');
  const SocketAddress at = At(to, port);
  EXPECT_EQ(sendto(sender.get(), data.data(), data.size(), 0, at.get(), at.length),
            static_cast<ssize_t>(data.size()));
  return Ready(receiver.get(), POLLIN, patience);
}

void GateWorld::SendFrom(const Fd& fd, absl::string_view source, absl::string_view to,
                         uint16_t port) {
  const SocketAddress at = At(to, port);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
  char data[] = "x";
  iovec part = {.iov_base = data, .iov_len = 1};
  msghdr message = {};
  message.msg_name = const_cast<sockaddr*>(at.get());
  message.msg_namelen = at.length;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IP;
  header->cmsg_type = IP_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  in_pktinfo from = {};
  std::memcpy(&from.ipi_spec_dst, A(source).bytes.data(), sizeof from.ipi_spec_dst);
  std::memcpy(CMSG_DATA(header), &from, sizeof from);
  EXPECT_EQ(sendmsg(fd.get(), &message, 0), 1) << source;
}

Fd GateWorld::Accept(const Fd& listener) {
  EXPECT_TRUE(Ready(listener.get(), POLLIN, kLongPatience));
  return Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

Session GateWorld::Open(const Namespace& from, absl::string_view to, uint16_t port) {
  Session session;
  for (const auto& [number, listener] : listeners_) {
    if (number != port) continue;
    EmptyBacklogs();
    session.client = Connect(from, to, port, kLongPatience);
    EXPECT_TRUE(session.client) << "cannot connect to " << to << " port " << port;
    session.server = Accept(listener);
  }
  EXPECT_TRUE(session.server);
  return session;
}

bool GateWorld::Flows(const Fd& from, const Fd& to, absl::Duration patience) {
  while (!ReadSome(to, absl::ZeroDuration()).empty()) {
  }
  if (send(from.get(), "x", 1, MSG_NOSIGNAL) != 1) return false;
  return !ReadSome(to, patience).empty();
}

void GateWorld::RunProgram(const Namespace& where, std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  where.Run([&] {
    const pid_t child = fork();
    if (child == 0) {
      execvp(argv[0], argv.data());
      _exit(127);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << arguments[0] << " failed";
  });
}

void GateWorld::Nft(const Namespace& where, const std::string& script) {
  RunProgram(where, {"nft", script});
}

std::string ReadSome(const Fd& fd, absl::Duration patience) {
  if (!Ready(fd.get(), POLLIN, patience)) return "";
  char buffer[4096];
  const ssize_t got = recv(fd.get(), buffer, sizeof buffer, 0);
  return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : "";
}

}  // namespace postern
