#include "agent/sessions/netlink.h"

#include <libmnl/libmnl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status.h"

namespace postern {
namespace {

// The kernel builds the datagrams of a dump up to 32 KiB.
constexpr size_t kReceiveBuffer = 65536;
// The answers to these fit the socket's default receive buffer.
constexpr size_t kRequestsPerSend = 64;
// A kernel that needs longer for one datagram will not answer at all.
constexpr timeval kAnswerTimeout = {.tv_sec = 5, .tv_usec = 0};
constexpr int kDumpAttempts = 5;

// The errno in an error or end-of-dump message; EBADMSG in one that is cut off.
int ErrorOf(const nlmsghdr& message) {
  int error = 0;
  if (mnl_nlmsg_get_payload_len(&message) < sizeof error) return EBADMSG;
  std::memcpy(&error, mnl_nlmsg_get_payload(&message), sizeof error);
  return error < 0 ? -error : error;
}

struct AttributeTable {
  const nlattr** entries;
  size_t count;
};

int StoreAttribute(const nlattr* attribute, void* data) {
  const auto* table = static_cast<AttributeTable*>(data);
  const uint16_t type = mnl_attr_get_type(attribute);
  if (type < table->count) table->entries[type] = attribute;
  return MNL_CB_OK;
}

}  // namespace

void NetlinkSocket::Closer::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }

NetlinkSocket::NetlinkSocket(mnl_socket* socket, std::string subject)
    : socket_(socket), subject_(std::move(subject)), buffer_(kReceiveBuffer) {}

absl::StatusOr<NetlinkSocket> NetlinkSocket::Open(int bus, std::string subject) {
  mnl_socket* const raw = mnl_socket_open2(bus, SOCK_CLOEXEC);
  if (raw == nullptr) return ErrnoStatus(errno, absl::StrCat(subject, ": open netlink socket"));
  NetlinkSocket socket(raw, std::move(subject));
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0) {
    return ErrnoStatus(errno, absl::StrCat(socket.subject_, ": bind netlink socket"));
  }
  if (setsockopt(mnl_socket_get_fd(raw), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout,
                 sizeof kAnswerTimeout) < 0) {
    return ErrnoStatus(errno, absl::StrCat(socket.subject_, ": bound the wait for answers"));
  }
  return socket;
}

void NetlinkSocket::FilterDumpsStrictly() {
  int on = 1;
  mnl_socket_setsockopt(socket_.get(), NETLINK_GET_STRICT_CHK, &on, sizeof on);
}

absl::Status NetlinkSocket::Dump(BuildRequest build, absl::FunctionRef<void()> start,
                                 absl::FunctionRef<absl::Status(const nlmsghdr&)> visit) {
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    start();
    POSTERN_ASSIGN_OR_RETURN(const bool consistent, TryDump(build, visit));
    if (consistent) return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat(subject_, ": went on changing while it was read, ", kDumpAttempts, " times"));
}

absl::StatusOr<bool> NetlinkSocket::TryDump(
    BuildRequest build, absl::FunctionRef<absl::Status(const nlmsghdr&)> visit) {
  std::array<uint64_t, kMaxNetlinkDumpRequest / sizeof(uint64_t)> space = {};
  nlmsghdr* const request = mnl_nlmsg_put_header(space.data());
  build(request);
  request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
  request->nlmsg_seq = ++sequence_;
  POSTERN_RETURN_IF_ERROR(Send(request, request->nlmsg_len));

  bool consistent = true;
  absl::Status visited;
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const size_t size, Receive());
    int left = static_cast<int>(size);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    for (; IsWholeMessage(message, left); message = mnl_nlmsg_next(message, &left)) {
      // Answers to a request that was given up.
      if (message->nlmsg_seq != sequence_) continue;
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) consistent = false;
      if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
        const int error = ErrorOf(*message);
        if (error != 0) return Refused(error, "read");
        if (!visited.ok()) return visited;
        return consistent;
      }
      if (message->nlmsg_type >= NLMSG_MIN_TYPE && visited.ok()) visited = visit(*message);
    }
  }
}

absl::StatusOr<std::vector<int>> NetlinkSocket::Execute(
    size_t count, absl::FunctionRef<void(size_t, nlmsghdr*)> build) {
  std::vector<int> errors(count, 0);
  std::vector<char> space(std::min(count, kRequestsPerSend) * kMaxNetlinkRequest);
  for (size_t done = 0; done < count;) {
    const size_t batch = std::min(count - done, kRequestsPerSend);
    const uint32_t first = sequence_ + 1;
    size_t used = 0;
    std::fill(space.begin(), space.end(), 0);
    for (size_t i = 0; i < batch; ++i) {
      nlmsghdr* const request = mnl_nlmsg_put_header(space.data() + used);
      build(done + i, request);
      request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
      request->nlmsg_seq = ++sequence_;
      used += MNL_ALIGN(request->nlmsg_len);
    }
    POSTERN_RETURN_IF_ERROR(Send(space.data(), used));

    for (size_t answered = 0; answered < batch;) {
      POSTERN_ASSIGN_OR_RETURN(const size_t size, Receive());
      int left = static_cast<int>(size);
      const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
      for (; IsWholeMessage(message, left); message = mnl_nlmsg_next(message, &left)) {
        const uint32_t index = message->nlmsg_seq - first;
        if (message->nlmsg_type != NLMSG_ERROR || index >= batch) continue;
        errors[done + index] = ErrorOf(*message);
        ++answered;
      }
    }
    done += batch;
  }
  return errors;
}

absl::Status NetlinkSocket::Refused(int error_number, absl::string_view what) const {
  if (error_number == EPERM || error_number == EACCES) {
    return absl::PermissionDeniedError(absl::StrCat(
        subject_, ": ", what,
        ": the kernel refuses this to a process without CAP_NET_ADMIN; the agent's unit grants "
        "it (AmbientCapabilities=)"));
  }
  return ErrnoStatus(error_number, absl::StrCat(subject_, ": ", what));
}

absl::Status NetlinkSocket::Send(const void* data, size_t size) {
  if (mnl_socket_sendto(socket_.get(), data, size) < 0) return Refused(errno, "send request");
  return absl::OkStatus();
}

absl::StatusOr<size_t> NetlinkSocket::Receive() {
  while (true) {
    sockaddr_nl from = {};
    iovec vector = {.iov_base = buffer_.data(), .iov_len = buffer_.size()};
    msghdr header = {};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    const ssize_t size = recvmsg(mnl_socket_get_fd(socket_.get()), &header, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) {
      return absl::UnavailableError(
          absl::StrCat(subject_, ": the kernel did not answer in ", kAnswerTimeout.tv_sec, " s"));
    }
    if (size < 0) return ErrnoStatus(errno, absl::StrCat(subject_, ": receive answer"));
    if ((header.msg_flags & MSG_TRUNC) != 0) {
      return absl::InternalError(
          absl::StrCat(subject_, ": an answer is longer than ", buffer_.size(), " bytes"));
    }
    // Only the kernel has port 0; another process may write to us as well.
    if (from.nl_pid == 0) return static_cast<size_t>(size);
  }
}

bool IsWholeMessage(const nlmsghdr* message, int left) {
  // mnl_nlmsg_ok takes lengths of 2 GiB and more for negative ones.
  return mnl_nlmsg_ok(message, left) && message->nlmsg_len <= static_cast<uint32_t>(left);
}

bool CopyPayload(const nlattr* attribute, void* to, size_t size) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != size) return false;
  std::memcpy(to, mnl_attr_get_payload(attribute), size);
  return true;
}

namespace netlink_internal {

void ParseMessage(const nlmsghdr& message, size_t header_size, const nlattr** into, size_t count) {
  const size_t skipped = MNL_ALIGN(header_size);
  const size_t payload = mnl_nlmsg_get_payload_len(&message);
  if (payload < skipped) return;
  AttributeTable table = {.entries = into, .count = count};
  // By its own length: mnl_attr_parse rounds the message's up.
  mnl_attr_parse_payload(mnl_nlmsg_get_payload_offset(&message, skipped), payload - skipped,
                         StoreAttribute, &table);
}

void ParseNest(const nlattr* nest, const nlattr** into, size_t count) {
  if (nest == nullptr) return;
  AttributeTable table = {.entries = into, .count = count};
  mnl_attr_parse_nested(nest, StoreAttribute, &table);
}

}  // namespace netlink_internal
}  // namespace postern
