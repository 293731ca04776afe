#include "tests/kernel/sessions/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status.h"

extern char** environ;

namespace postern {
namespace {

constexpr int kPatienceMs = 5000;

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "cannot set the test up: " << status << std::endl;
  std::_Exit(1);
}

void Must(bool ok, absl::string_view what) {
  if (!ok) Must(ErrnoStatus(errno, what));
}

void Sysctl(const Namespace& where, const std::string& name, const std::string& value) {
  where.Run([&] {
    const Fd file(open(absl::StrCat("/proc/sys/", name).c_str(), O_WRONLY | O_CLOEXEC));
    Must(write(file.get(), value.data(), value.size()) > 0, name);
  });
}

socklen_t ToSockaddr(const Address& address, uint16_t port, sockaddr_storage& out) {
  out = {};
  if (address.family == Family::kIpv4) {
    auto& four = reinterpret_cast<sockaddr_in&>(out);
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    std::memcpy(&four.sin_addr, address.bytes.data(), 4);
    return sizeof four;
  }
  auto& six = reinterpret_cast<sockaddr_in6&>(out);
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  std::memcpy(&six.sin6_addr, address.bytes.data(), 16);
  return sizeof six;
}

Fd BoundSocket(const Address& address, uint16_t port, int type = SOCK_STREAM) {
  Fd fd(socket(address.family == Family::kIpv4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
  Must(fd.get() >= 0, "socket");
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage name;
  const socklen_t size = ToSockaddr(address, port, name);
  Must(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size) == 0,
       absl::StrCat("bind ", address.ToString(), " port ", port));
  return fd;
}

bool WaitFor(int fd, short events) {
  pollfd wanted{.fd = fd, .events = events, .revents = 0};
  return poll(&wanted, 1, kPatienceMs) == 1;
}

bool Passes(int from, int to) {
  char byte = 'p';
  if (send(from, &byte, 1, MSG_NOSIGNAL) != 1) return false;
  byte = 0;
  return WaitFor(to, POLLIN) && recv(to, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'p';
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

std::unique_ptr<Namespace> MakeNamespace() {
  absl::StatusOr<std::unique_ptr<Namespace>> made = Namespace::Create();
  Must(made.status());
  // For the addresses that the kernel makes itself: a router asks for its
  // neighbours from these, and would wait a second for them.
  Sysctl(**made, "net/ipv6/conf/default/accept_dad", "0");
  return *std::move(made);
}

void Link(const Namespace& one, const std::vector<std::string>& its_addresses,
          const Namespace& other, const std::vector<std::string>& others_addresses,
          const std::string& name) {
  // With the same index at both ends, the kernel may take a second to see that
  // the link is up, and IPv6 waits for that.
  static int index = 1000;
  Must(one.Ip({"link", "add", name, "index", absl::StrCat(++index), "type", "veth", "peer", "name",
               name, "netns", absl::StrCat("/proc/", getpid(), "/fd/", other.fd())}));
  const auto configure = [&name](const Namespace& end, const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) Must(end.AddAddress(name, address));
    Must(end.Ip({"link", "set", name, "up"}));
  };
  configure(one, its_addresses);
  configure(other, others_addresses);
}

void Nft(const Namespace& where, const std::string& ruleset) {
  const Fd input(memfd_create("ruleset", MFD_CLOEXEC));
  Must(write(input.get(), ruleset.data(), ruleset.size()) == static_cast<ssize_t>(ruleset.size()),
       "write a ruleset");
  lseek(input.get(), 0, SEEK_SET);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDIN_FILENO);
  std::string words[] = {"nft", "-f", "-"};
  char* const argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  int status = -1;
  where.Run([&] {
    pid_t pid = 0;
    if (posix_spawnp(&pid, "nft", &actions, nullptr, argv, environ) == 0) waitpid(pid, &status, 0);
  });
  posix_spawn_file_actions_destroy(&actions);
  Must(status == 0, "run nft(8)");
}

void Forward(const Namespace& where) {
  Sysctl(where, "net/ipv4/ip_forward", "1");
  Sysctl(where, "net/ipv6/conf/all/forwarding", "1");
}

bool Connection::Lives() const {
  return Passes(client.get(), server.get()) && Passes(server.get(), client.get());
}

bool Connection::ClientWasReset() const {
  char byte = 0;
  return WaitFor(client.get(), POLLIN) && recv(client.get(), &byte, 1, MSG_DONTWAIT) == -1 &&
         errno == ECONNRESET;
}

bool Connection::ClientIsResetOnSending() const {
  const char byte = 'p';
  return send(client.get(), &byte, 1, MSG_NOSIGNAL) == 1 && ClientWasReset();
}

Fd Listen(const Namespace& where, const Address& address, uint16_t port) {
  Fd fd;
  where.Run([&] {
    fd = BoundSocket(address, port);
    Must(listen(fd.get(), 64) == 0, "listen");
  });
  return fd;
}

Connection Connect(const Namespace& where, const Address& from, uint16_t from_port,
                   const Address& to, uint16_t to_port, const Fd& listener) {
  Connection connection;
  where.Run([&] { connection.client = BoundSocket(from, from_port); });
  sockaddr_storage name;
  const socklen_t size = ToSockaddr(to, to_port, name);
  const int client = connection.client.get();
  fcntl(client, F_SETFL, O_NONBLOCK);
  const int started = connect(client, reinterpret_cast<sockaddr*>(&name), size);
  Must(started == 0 || errno == EINPROGRESS, "connect");
  Must(WaitFor(listener.get(), POLLIN), absl::StrCat("connection to port ", to_port));
  connection.server = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  Must(connection.server.get() >= 0, "accept");
  Must(WaitFor(client, POLLOUT), "connected");
  connection.flow = {.remote = from, .remote_port = from_port, .local = to, .local_port = to_port};
  return connection;
}

Fd BindUdp(const Namespace& where, const Address& address, uint16_t port) {
  Fd fd;
  where.Run([&] { fd = BoundSocket(address, port, SOCK_DGRAM); });
  return fd;
}

bool SendUdp(const Fd& client, const Address& to, uint16_t port, const Fd& server) {
  sockaddr_storage name;
  const socklen_t size = ToSockaddr(to, port, name);
  char byte = 'p';
  if (sendto(client.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&name), size) != 1) {
    return false;
  }
  return WaitFor(server.get(), POLLIN) && recv(server.get(), &byte, 1, MSG_DONTWAIT) == 1;
}

}  // namespace postern
