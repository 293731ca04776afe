#include "agent/firewall/nft/denied_log.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/nft/attributes.h"
#include "agent/firewall/nft/socket.h"

namespace postern::nft {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;
// The rule's limit lets far fewer through at once.
constexpr int kMaxDatagrams = 64;
constexpr int kAnswerMilliseconds = 5000;
// Headers up to the ports, with room for some of IPv6's extensions.
constexpr uint32_t kBytesOfPacket = 128;
constexpr int kMaxExtensions = 8;

// Offsets in struct iphdr and struct ipv6hdr.
constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv4Protocol = 9;
constexpr size_t kIpv4Source = 12;
constexpr size_t kIpv6Header = 40;
constexpr size_t kIpv6NextHeader = 6;
constexpr size_t kIpv6Source = 8;

std::optional<AccessKey> KeyOf(Family family, absl::Span<const uint8_t> source, uint8_t protocol,
                               absl::Span<const uint8_t> transport) {
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return std::nullopt;
  if (transport.size() < 4) return std::nullopt;
  AccessKey key;
  key.source.address.family = family;
  std::copy(source.begin(), source.end(), key.source.address.bytes.begin());
  key.source.length = static_cast<uint8_t>(AddressBits(family));
  key.protocol = static_cast<Protocol>(protocol);
  key.port = static_cast<uint16_t>(transport[2] << 8 | transport[3]);
  return key;
}

std::optional<AccessKey> ParseIpv4(absl::Span<const uint8_t> bytes) {
  const size_t header = size_t{4} * (bytes[0] & 0x0f);
  if (header < kIpv4Header || bytes.size() < header) return std::nullopt;
  return KeyOf(Family::kIpv4, bytes.subspan(kIpv4Source, 4), bytes[kIpv4Protocol],
               bytes.subspan(header));
}

std::optional<AccessKey> ParseIpv6(absl::Span<const uint8_t> bytes) {
  if (bytes.size() < kIpv6Header) return std::nullopt;
  uint8_t next = bytes[kIpv6NextHeader];
  absl::Span<const uint8_t> rest = bytes.subspan(kIpv6Header);
  for (int i = 0; i < kMaxExtensions; ++i) {
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) break;
    if (rest.size() < 2) return std::nullopt;
    const size_t size = size_t{8} * (rest[1] + size_t{1});
    if (rest.size() < size) return std::nullopt;
    next = rest[0];
    rest.remove_prefix(size);
  }
  return KeyOf(Family::kIpv6, bytes.subspan(kIpv6Source, 16), next, rest);
}

}  // namespace

std::optional<AccessKey> ParseKnock(absl::Span<const uint8_t> bytes) {
  if (bytes.empty()) return std::nullopt;
  switch (bytes[0] >> 4) {
    case 4:
      return ParseIpv4(bytes);
    case 6:
      return ParseIpv6(bytes);
    default:
      return std::nullopt;
  }
}

absl::Span<const uint8_t> ParseLogged(const nlmsghdr& message) {
  if (NFNL_SUBSYS_ID(message.nlmsg_type) != NFNL_SUBSYS_ULOG ||
      NFNL_MSG_TYPE(message.nlmsg_type) != NFULNL_MSG_PACKET) {
    return {};
  }
  absl::Span<const uint8_t> packet;
  ForEachAttributeOf(message, sizeof(nfgenmsg), [&packet](const nlattr& attribute) {
    if (mnl_attr_get_type(&attribute) != NFULA_PAYLOAD) return;
    packet = {static_cast<const uint8_t*>(mnl_attr_get_payload(&attribute)),
              mnl_attr_get_payload_len(&attribute)};
  });
  return packet;
}

void DeniedLog::CloseSocket::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }

DeniedLog::DeniedLog(mnl_socket* socket)
    : socket_(socket), fd_(mnl_socket_get_fd(socket)), buffer_(new char[kBufferBytes]) {}

absl::StatusOr<std::unique_ptr<DeniedLog>> DeniedLog::Open() {
  mnl_socket* opened = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (opened == nullptr) return KernelStatus(errno, "open a netfilter netlink socket");
  std::unique_ptr<DeniedLog> log(new DeniedLog(opened));
  if (mnl_socket_bind(opened, 0, MNL_SOCKET_AUTOPID) < 0) {
    return KernelStatus(errno, "bind a netfilter netlink socket");
  }
  const absl::Status status = log->Listen();
  if (!status.ok()) return status;
  return log;
}

absl::Status DeniedLog::Listen() {
  constexpr uint32_t kSequence = 1;
  nlmsghdr* message = mnl_nlmsg_put_header(buffer_.get());
  message->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message->nlmsg_seq = kSequence;
  auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  header->nfgen_family = AF_UNSPEC;
  header->version = NFNETLINK_V0;
  header->res_id = htons(kDeniedLogGroup);
  const nfulnl_msg_config_cmd bind = {.command = NFULNL_CFG_CMD_BIND};
  mnl_attr_put(message, NFULA_CFG_CMD, sizeof bind, &bind);
  const nfulnl_msg_config_mode mode = {
      .copy_range = htonl(kBytesOfPacket), .copy_mode = NFULNL_COPY_PACKET, ._pad = 0};
  mnl_attr_put(message, NFULA_CFG_MODE, sizeof mode, &mode);
  // Each packet at once: the kernel would hold it back for a second.
  mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htonl(1));
  if (mnl_socket_sendto(socket_.get(), message, message->nlmsg_len) < 0) {
    return KernelStatus(errno, absl::StrCat("listen to nfnetlink_log group ", kDeniedLogGroup));
  }
  return AwaitAnswer(kSequence);
}

absl::Status DeniedLog::AwaitAnswer(uint32_t sequence) {
  const std::string what = absl::StrCat("listen to nfnetlink_log group ", kDeniedLogGroup);
  for (;;) {
    pollfd wait = {.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, kAnswerMilliseconds) <= 0) return KernelStatus(ETIMEDOUT, what);
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), buffer_.get(), kBufferBytes);
    if (received < 0) return KernelStatus(errno, what);
    auto left = static_cast<int>(received);
    const auto* message = static_cast<const nlmsghdr*>(static_cast<const void*>(buffer_.get()));
    // Packets may come before the answer.
    if (!IsWhole(message, left) || message->nlmsg_type != NLMSG_ERROR ||
        message->nlmsg_seq != sequence || mnl_nlmsg_get_payload_len(message) < sizeof(nlmsgerr)) {
      continue;
    }
    const int error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
    if (error == 0) return absl::OkStatus();
    if (error != EPERM) return KernelStatus(error, what);
    // The kernel's answer also where CAP_NET_ADMIN is missing.
    return absl::UnavailableError(
        absl::StrCat(KernelMessage(error, what), "; another process may listen to it"));
  }
}

absl::StatusOr<std::vector<AccessKey>> DeniedLog::Read() {
  std::vector<AccessKey> knocks;
  for (int i = 0; i < kMaxDatagrams; ++i) {
    sockaddr_nl from = {};
    socklen_t from_size = sizeof from;
    const ssize_t received = recvfrom(fd_, buffer_.get(), kBufferBytes, MSG_DONTWAIT,
                                      reinterpret_cast<sockaddr*>(&from), &from_size);
    if (received < 0 && errno == EAGAIN) break;
    if (received < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (received < 0) return KernelStatus(errno, "receive from nfnetlink_log");
    // Other processes can send to this socket as well.
    if (from.nl_pid != 0) continue;
    auto left = static_cast<int>(received);
    const auto* message = static_cast<const nlmsghdr*>(static_cast<const void*>(buffer_.get()));
    for (; IsWhole(message, left); message = mnl_nlmsg_next(message, &left)) {
      const std::optional<AccessKey> knock = ParseKnock(ParseLogged(*message));
      if (knock) knocks.push_back(*knock);
    }
  }
  return knocks;
}

}  // namespace postern::nft
