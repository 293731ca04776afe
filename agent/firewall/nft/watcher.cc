#include "agent/firewall/nft/watcher.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "absl/strings/string_view.h"
#include "agent/firewall/nft/socket.h"
#include "common/clock.h"
#include "common/status.h"

namespace postern::nft {
namespace {

// The kernel puts several messages into a datagram, of up to 8 KiB.
constexpr size_t kBufferBytes = size_t{64} << 10;
// So that a flood about other tables does not keep its reader from other work.
constexpr int kMaxDatagrams = 256;
// The name of who changed the table follows before the kernel lets another
// transaction begin, ours included: waiting for it delays nothing.
constexpr int kNamePatienceMilliseconds = 10;

// Drops, within the kernel, what our own transactions announce. A datagram holds
// messages of one transaction only.
absl::Status LeaveOut(int fd, uint32_t port) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(nlmsghdr, nlmsg_pid)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(port), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  };
  const sock_fprog program = {.len = std::size(code), .filter = code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) {
    return absl::OkStatus();
  }
  return KernelStatus(errno, "netlink socket option SO_ATTACH_FILTER");
}

}  // namespace

void Watcher::CloseSocket::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }

Watcher::Watcher(mnl_socket* socket, uint32_t own_port)
    : socket_(socket),
      fd_(mnl_socket_get_fd(socket)),
      buffer_(new char[kBufferBytes]),
      notifications_(own_port) {}

absl::StatusOr<std::unique_ptr<Watcher>> Watcher::Open(uint32_t own_port, int receive_bytes) {
  mnl_socket* opened = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (opened == nullptr) return KernelStatus(errno, "open a netfilter netlink socket");
  std::unique_ptr<Watcher> watcher(new Watcher(opened, own_port));
  POSTERN_RETURN_IF_ERROR(watcher->Prepare(own_port, receive_bytes));
  return watcher;
}

absl::Status Watcher::Prepare(uint32_t own_port, int receive_bytes) {
  POSTERN_RETURN_IF_ERROR(LeaveOut(fd_, own_port));
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof receive_bytes) < 0) {
    // Needs the capability in the first user namespace; this does not, and is
    // limited. What does not fit is told as lost.
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  }
  if (mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return KernelStatus(errno, "bind a netfilter netlink socket");
  }
  const int group = NFNLGRP_NFTABLES;
  if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0) {
    return absl::OkStatus();
  }
  return KernelStatus(errno, "join the netlink group of nf_tables");
}

absl::StatusOr<std::optional<TableChange>> Watcher::Read() {
  std::optional<BootTime> noticed;
  bool waited = false;
  for (int i = 0; i < kMaxDatagrams; ++i) {
    POSTERN_ASSIGN_OR_RETURN(const Received received, ReceiveOne());
    if (!noticed && !notifications_.empty()) noticed = SystemClock().Read().boot;
    if (received == Received::kSomething) continue;
    if (!notifications_.awaits_name() || waited) break;
    waited = true;
    pollfd wait = {.fd = fd_, .events = POLLIN, .revents = 0};
    poll(&wait, 1, kNamePatienceMilliseconds);
  }
  if (!noticed) return std::optional<TableChange>();
  TableChange change = notifications_.Finish();
  change.noticed = *noticed;
  return change;
}

absl::StatusOr<Watcher::Received> Watcher::ReceiveOne() {
  sockaddr_nl from = {};
  iovec part = {.iov_base = buffer_.get(), .iov_len = kBufferBytes};
  msghdr header = {};
  header.msg_name = &from;
  header.msg_namelen = sizeof from;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const ssize_t received = recvmsg(fd_, &header, MSG_DONTWAIT);
  if (received < 0) {
    if (errno == EAGAIN) return Received::kNothing;
    if (errno == EINTR) return Received::kSomething;
    if (errno != ENOBUFS) return KernelStatus(errno, "receive notifications from nf_tables");
    notifications_.TakeLoss();
    return Received::kSomething;
  }
  // Other processes can send to this socket as well.
  if (from.nl_pid != 0) return Received::kSomething;
  if ((header.msg_flags & MSG_TRUNC) != 0) notifications_.TakeLoss();
  notifications_.Take(absl::string_view(buffer_.get(), static_cast<size_t>(received)));
  return Received::kSomething;
}

}  // namespace postern::nft
