#include "agent/firewall/nft/socket.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <limits>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/attributes.h"
#include "common/status.h"

namespace postern::nft {
namespace {

// The kernel fills up to 32 KiB at a time when dumping.
constexpr size_t kReceiveBytes = size_t{64} << 10;
constexpr timeval kAnswerTimeout = {.tv_sec = 5, .tv_usec = 0};
constexpr int kMaxInterrupted = 20;

// What netlink keeps of a send buffer for itself.
constexpr size_t kSendOverhead = 32;

int ErrorOf(const nlmsghdr& message) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(nlmsgerr)) return EBADMSG;
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(&message));
  return -error->error;
}

// The attribute that an error is about (NLMSGERR_ATTR_OFFS). The socket asks for
// answers without a copy of what they answer, so these attributes come next.
size_t OffsetOf(const nlmsghdr& message) {
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return 0;
  size_t offset = 0;
  ForEachAttributeOf(message, sizeof(nlmsgerr), [&offset](const nlattr& attribute) {
    if (mnl_attr_get_type(&attribute) == NLMSGERR_ATTR_OFFS &&
        mnl_attr_validate(&attribute, MNL_TYPE_U32) >= 0) {
      offset = mnl_attr_get_u32(&attribute);
    }
  });
  return offset;
}

// A dump that fails midway says so in its last message.
int DoneError(const nlmsghdr& message) {
  if (mnl_nlmsg_get_payload_len(&message) < sizeof(int)) return 0;
  const int code = *static_cast<const int*>(mnl_nlmsg_get_payload(&message));
  return code < 0 ? -code : 0;
}

absl::Status SetOption(int fd, int option, absl::string_view name) {
  const int on = 1;
  if (setsockopt(fd, SOL_NETLINK, option, &on, sizeof on) == 0) return absl::OkStatus();
  return KernelStatus(errno, absl::StrCat("netlink socket option ", name));
}

}  // namespace

std::string KernelMessage(int error_number, absl::string_view context) {
  return absl::StrCat(context, ": ", std::generic_category().message(error_number), " (errno ",
                      error_number, ")");
}

absl::Status KernelStatus(int error_number, absl::string_view context) {
  const std::string message = KernelMessage(error_number, context);
  if (error_number != EPERM) return absl::UnavailableError(message);
  return absl::PermissionDeniedError(
      absl::StrCat(message, "; CAP_NET_ADMIN in this network namespace is needed"));
}

void Socket::CloseSocket::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }

Socket::Socket(mnl_socket* socket)
    : socket_(socket), fd_(mnl_socket_get_fd(socket)), buffer_(new char[kReceiveBytes]) {}

absl::StatusOr<std::unique_ptr<Socket>> Socket::Open() {
  mnl_socket* opened = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
  if (opened == nullptr) return KernelStatus(errno, "open a netfilter netlink socket");
  std::unique_ptr<Socket> socket(new Socket(opened));
  if (mnl_socket_bind(opened, 0, MNL_SOCKET_AUTOPID) < 0) {
    return KernelStatus(errno, "bind a netfilter netlink socket");
  }
  POSTERN_RETURN_IF_ERROR(SetOption(socket->fd_, NETLINK_CAP_ACK, "NETLINK_CAP_ACK"));
  POSTERN_RETURN_IF_ERROR(SetOption(socket->fd_, NETLINK_EXT_ACK, "NETLINK_EXT_ACK"));
  if (setsockopt(socket->fd_, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout) <
      0) {
    return KernelStatus(errno, "netlink socket option SO_RCVTIMEO");
  }
  return socket;
}

uint32_t Socket::port() const { return mnl_socket_get_portid(socket_.get()); }

uint32_t Socket::TakeSequences(uint32_t count) {
  const uint32_t first = next_sequence_;
  next_sequence_ += count;
  return first;
}

absl::StatusOr<std::optional<KernelError>> Socket::Transact(const Batch& batch) {
  POSTERN_RETURN_IF_ERROR(Send(batch.bytes()));
  std::optional<KernelError> first_error;
  bool lost = false;
  while (true) {
    absl::StatusOr<absl::string_view> datagram = Receive(lost);
    if (!datagram.ok()) return datagram.status();
    // Only refusals can be so many.
    if (datagram->empty()) break;
    bool last = false;
    auto left = static_cast<int>(datagram->size());
    for (const auto* message = MessageAt(datagram->data()); IsWhole(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      const uint32_t distance = message->nlmsg_seq - batch.first_sequence();
      if (message->nlmsg_type != NLMSG_ERROR || distance > batch.size()) continue;
      const int error = ErrorOf(*message);
      if (error != 0 && !first_error.has_value()) {
        first_error = KernelError{error, message->nlmsg_seq, OffsetOf(*message)};
      }
      // The batch's own number is only ever answered when all of it failed.
      last = last || distance == 0 || distance == batch.size();
    }
    if (last) break;
  }
  if (lost && !first_error.has_value()) {
    return absl::UnavailableError("the kernel's answers were lost: too many for the socket");
  }
  return first_error;
}

absl::StatusOr<int> Socket::Read(nlmsghdr* request, absl::FunctionRef<void()> restart,
                                 absl::FunctionRef<void(const nlmsghdr&)> take) {
  for (int i = 0; i < kMaxInterrupted; ++i) {
    absl::StatusOr<Outcome> outcome = ReadOnce(request, take);
    if (!outcome.ok()) return outcome.status();
    if (!outcome->interrupted) return outcome->error;
    restart();
  }
  return absl::UnavailableError(
      absl::StrCat("the ruleset changed during each of ", kMaxInterrupted, " attempts to read it"));
}

absl::StatusOr<Socket::Outcome> Socket::ReadOnce(nlmsghdr* request,
                                                 absl::FunctionRef<void(const nlmsghdr&)> take) {
  const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  request->nlmsg_seq = TakeSequences(1);
  POSTERN_RETURN_IF_ERROR(Send({reinterpret_cast<const char*>(request), request->nlmsg_len}));
  Outcome outcome;
  bool lost = false;
  while (true) {
    absl::StatusOr<absl::string_view> datagram = Receive(lost);
    if (!datagram.ok()) return datagram.status();
    if (datagram->empty()) return absl::UnavailableError("the kernel's answer was lost");
    auto left = static_cast<int>(datagram->size());
    for (const auto* message = MessageAt(datagram->data()); IsWhole(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != request->nlmsg_seq) continue;
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) outcome.interrupted = true;
      if (message->nlmsg_type == NLMSG_ERROR) {
        outcome.error = ErrorOf(*message);
        return outcome;
      }
      if (message->nlmsg_type == NLMSG_DONE) {
        outcome.error = DoneError(*message);
        return outcome;
      }
      if (message->nlmsg_type >= NLMSG_MIN_TYPE) take(*message);
      if (!dump) return outcome;
    }
  }
}

absl::Status Socket::Send(absl::string_view bytes) {
  if (bytes.size() > room_) POSTERN_RETURN_IF_ERROR(MakeRoom(bytes.size()));
  while (mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size()) < 0) {
    if (errno != EINTR) {
      return KernelStatus(errno, absl::StrCat("send ", bytes.size(), " bytes to nf_tables"));
    }
  }
  return absl::OkStatus();
}

absl::Status Socket::MakeRoom(size_t size) {
  if (size > std::numeric_limits<int>::max() / 4) {
    return KernelStatus(EMSGSIZE, absl::StrCat("a change of ", size, " bytes"));
  }
  // The kernel doubles what is asked for, which leaves room for its own overhead.
  const int wanted = static_cast<int>(size);
  int granted = 0;
  socklen_t length = sizeof granted;
  if (getsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &granted, &length) < 0) {
    return KernelStatus(errno, "netlink socket option SO_SNDBUF");
  }
  if (static_cast<size_t>(granted) < size + kSendOverhead) {
    if (setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) < 0) {
      // Needs the capability in the first user namespace; this does not, and is
      // limited.
      setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    }
    if (getsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &granted, &length) < 0) {
      return KernelStatus(errno, "netlink socket option SO_SNDBUF");
    }
  }
  room_ = static_cast<size_t>(granted) - kSendOverhead;
  if (size <= room_) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("a change of ", size, " bytes does not fit the netlink send buffer of ", room_,
                   "; raise net.core.wmem_max or run in the first user namespace"));
}

absl::StatusOr<absl::string_view> Socket::Receive(bool& lost) {
  while (true) {
    sockaddr_nl from = {};
    iovec part = {.iov_base = buffer_.get(), .iov_len = kReceiveBytes};
    msghdr header = {};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    // What was queued before answers were lost is there at once.
    const ssize_t received = recvmsg(fd_, &header, lost ? MSG_DONTWAIT : 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOBUFS) {
        lost = true;
        continue;
      }
      if (errno == EAGAIN && lost) return absl::string_view();
      if (errno == EAGAIN) {
        return absl::UnavailableError(
            absl::StrCat("the kernel did not answer within ", kAnswerTimeout.tv_sec, " s"));
      }
      return KernelStatus(errno, "receive from nf_tables");
    }
    // Other processes can send to this socket as well.
    if (from.nl_pid != 0) continue;
    if ((header.msg_flags & MSG_TRUNC) != 0)
      return KernelStatus(EMSGSIZE, "receive from nf_tables");
    return absl::string_view(buffer_.get(), static_cast<size_t>(received));
  }
}

}  // namespace postern::nft
