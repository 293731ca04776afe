#include "tests/kernel/chaos/probes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status.h"

namespace postern::chaos {
namespace {

constexpr absl::Duration kBetweenDatagrams = absl::Microseconds(300);
constexpr size_t kConnectors = 2;
constexpr size_t kConnectionsAtOnce = 16;
// Shorter than the second after which a client's kernel tries again.
constexpr absl::Duration kConnectPatience = absl::Milliseconds(250);
// A packet has met the gate so long after it was sent, on a busy machine too.
constexpr absl::Duration kWay = absl::Milliseconds(100);
constexpr int kReceiveBytes = 8 << 20;
constexpr int kTurnMs = 20;

BootTime BootNow() {
  static const SystemClock clock;
  return clock.Read().boot;
}

sockaddr_in At(const std::string& address, uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  return at;
}

// Sends `number` from any of this process's addresses.
bool SendFrom(const Fd& fd, const std::string& source, uint16_t port, uint32_t number) {
  sockaddr_in to = At(kHostAddress, port);
  iovec payload = {.iov_base = &number, .iov_len = sizeof number};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in_pktinfo))> control{};
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = sizeof to;
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IP;
  header->cmsg_type = IP_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  in_pktinfo info{};
  inet_pton(AF_INET, source.c_str(), &info.ipi_spec_dst);
  std::memcpy(CMSG_DATA(header), &info, sizeof info);
  return sendmsg(fd.get(), &message, MSG_DONTWAIT) == sizeof number;
}

// The number in the next datagram; adds up what the kernel had to throw away.
std::optional<uint32_t> ReceiveOne(const Fd& fd, uint64_t& overflows) {
  uint32_t number = 0;
  iovec payload = {.iov_base = &number, .iov_len = sizeof number};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(uint32_t))> control{};
  msghdr message{};
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(fd.get(), &message, MSG_DONTWAIT) != sizeof number) return std::nullopt;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    uint32_t so_far = 0;
    if (header->cmsg_type != SO_RXQ_OVFL) continue;
    std::memcpy(&so_far, CMSG_DATA(header), sizeof so_far);
    overflows = std::max<uint64_t>(overflows, so_far);
  }
  return number;
}

void CloseWithReset(Fd& fd) {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.Reset();
}

std::string Octets(int second, size_t slot, int last) {
  return absl::StrCat("10.", second, ".", slot, ".", last);
}

}  // namespace

std::string PrefixOf(size_t slot) {
  constexpr std::array<const char*, 4> kSuffixes = {"1/32", "0/30", "0/28", "0/24"};
  return absl::StrCat("10.77.", slot, ".", kSuffixes[slot % kSuffixes.size()]);
}

std::string AddressOf(size_t slot) { return Octets(77, slot, 1); }

absl::StatusOr<std::unique_ptr<Probers>> Probers::Start(const DaemonHost& host, size_t slots,
                                                        uint64_t seed) {
  std::unique_ptr<Probers> probers(new Probers(slots));
  const int on = 1;
  for (const uint16_t port : {kGrantedPort, kOtherPort}) {
    POSTERN_ASSIGN_OR_RETURN(Fd receiver, host.HostSocket(SOCK_DGRAM, port));
    if (setsockopt(receiver.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes,
                   sizeof kReceiveBytes) != 0) {
      setsockopt(receiver.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes);
    }
    setsockopt(receiver.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    probers->receivers_.push_back(std::move(receiver));
    POSTERN_ASSIGN_OR_RETURN(Fd listener, host.HostSocket(SOCK_STREAM, port));
    if (listen(listener.get(), 1024) != 0) return ErrnoStatus(errno, "listen");
    probers->listeners_.push_back(std::move(listener));
  }
  POSTERN_ASSIGN_OR_RETURN(probers->sender_, DaemonHost::ClientSocket(SOCK_DGRAM, "0.0.0.0"));

  Probers* const self = probers.get();
  self->connections_.resize(kConnectors);
  self->servants_.emplace_back([self] { self->ReceiveDatagrams(); });
  self->servants_.emplace_back([self] { self->Accept(); });
  self->senders_.emplace_back([self, seed] { self->SendDatagrams(seed); });
  for (size_t i = 0; i < kConnectors; ++i) {
    self->senders_.emplace_back(
        [self, seed, i] { self->Connect(seed + 1 + i, self->connections_[i]); });
  }
  return probers;
}

Probers::~Probers() { Join(); }

void Probers::Join() {
  stopped_ = true;
  for (std::thread& thread : senders_) thread.join();
  senders_.clear();
  all_sent_ = true;
  for (std::thread& thread : servants_) thread.join();
  servants_.clear();
}

std::vector<Probe> Probers::Stop() {
  Join();
  for (const auto& [number, seen] : arrived_) {
    datagrams_[number].passed = true;
    datagrams_[number].judged = seen;
  }
  std::vector<Probe> all = datagrams_;
  for (const std::vector<Probe>& some : connections_) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

Probers::Target Probers::Choose(std::mt19937_64& random) const {
  const size_t slot = random() % slots_;
  switch (random() % 5) {
    case 0:
      return {.slot = std::nullopt, .source = AddressOf(slot), .port = kOtherPort};
    case 1:
      // Beside a /32, and in a network that nobody asks for.
      return {.slot = std::nullopt,
              .source = slot % 4 == 0 ? Octets(77, slot, 2) : Octets(78, slot, 1),
              .port = kGrantedPort};
    default:
      return {.slot = slot, .source = AddressOf(slot), .port = kGrantedPort};
  }
}

void Probers::SendDatagrams(uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!stopped_) {
    const Target target = Choose(random);
    Probe probe{.slot = target.slot, .sent = BootNow(), .judged = {}};
    const bool sent =
        SendFrom(sender_, target.source, target.port, static_cast<uint32_t>(datagrams_.size()));
    probe.judged = BootNow() + kWay;
    if (sent) datagrams_.push_back(probe);
    absl::SleepFor(kBetweenDatagrams);
  }
}

void Probers::ReceiveDatagrams() {
  std::vector<pollfd> fds;
  for (const Fd& fd : receivers_) fds.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
  // What has been sent by then has arrived, or never does.
  while (poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(kWay))) > 0 ||
         !all_sent_) {
    for (const Fd& fd : receivers_) {
      while (const std::optional<uint32_t> number = ReceiveOne(fd, overflows_)) {
        arrived_.emplace_back(*number, BootNow());
      }
    }
  }
}

void Probers::Connect(uint64_t seed, std::vector<Probe>& probes) {
  std::mt19937_64 random(seed);
  while (!stopped_) ConnectSome(random, probes);
}

void Probers::ConnectSome(std::mt19937_64& random, std::vector<Probe>& probes) {
  std::vector<Probe> some;
  std::vector<Fd> sockets;
  std::vector<pollfd> fds;
  for (size_t i = 0; i < kConnectionsAtOnce; ++i) {
    const Target target = Choose(random);
    absl::StatusOr<Fd> fd = DaemonHost::ClientSocket(SOCK_STREAM, target.source);
    if (!fd.ok()) continue;
    const sockaddr_in to = At(kHostAddress, target.port);
    Probe probe{.slot = target.slot, .sent = BootNow(), .judged = {}};
    if (connect(fd->get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
        errno != EINPROGRESS) {
      continue;
    }
    probe.judged = BootNow() + kWay;
    fds.push_back({.fd = fd->get(), .events = POLLOUT, .revents = 0});
    sockets.push_back(*std::move(fd));
    some.push_back(probe);
  }
  const BootTime end = BootNow() + kConnectPatience;
  size_t open = fds.size();
  while (open > 0) {
    const absl::Duration left = end - BootNow();
    if (left <= absl::ZeroDuration()) break;
    poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      // Also when it has been reset since: something answered.
      some[i].passed = true;
      some[i].judged = BootNow();
      fds[i].fd = -1;
      --open;
    }
  }
  for (Fd& fd : sockets) CloseWithReset(fd);
  probes.insert(probes.end(), some.begin(), some.end());
}

void Probers::Accept() {
  std::vector<pollfd> fds;
  for (const Fd& fd : listeners_) fds.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
  while (!all_sent_) {
    poll(fds.data(), fds.size(), kTurnMs);
    for (const Fd& fd : listeners_) {
      while (true) {
        const Fd accepted(accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (accepted.get() < 0) break;
      }
    }
  }
}

}  // namespace postern::chaos
