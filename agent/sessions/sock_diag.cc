#include "agent/sessions/sock_diag.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr size_t kMaxSockets = 1'000'000;

// Connected, or still owed data. SYN_SENT is ours, and TIME_WAIT carries
// nothing.
constexpr uint32_t kStates = 1U << TCP_ESTABLISHED | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 |
                             1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK |
                             1U << TCP_CLOSING;

// In `from`, the words of an inet_diag_sockid.
Address AddressOf(uint8_t family, const uint32_t (&from)[4]) {
  Address address;
  in6_addr six = {};
  std::memcpy(&six, from, sizeof six);
  if (family == AF_INET) {
    std::copy_n(six.s6_addr, 4, address.bytes.begin());
  } else if (IN6_IS_ADDR_V4MAPPED(&six)) {
    std::copy_n(six.s6_addr + 12, 4, address.bytes.begin());
  } else {
    address.family = Family::kIpv6;
    std::copy_n(six.s6_addr, 16, address.bytes.begin());
  }
  return address;
}

inet_diag_req_v2* PutRequest(nlmsghdr* message, uint16_t type, uint8_t family) {
  message->nlmsg_type = type;
  auto* request =
      static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(message, sizeof(inet_diag_req_v2)));
  request->sdiag_family = family;
  request->sdiag_protocol = IPPROTO_TCP;
  request->idiag_states = kStates;
  return request;
}

}  // namespace

std::optional<TcpSocket> ParseTcpSocket(const nlmsghdr& message) {
  inet_diag_msg found;
  if (mnl_nlmsg_get_payload_len(&message) < sizeof found) return std::nullopt;
  std::memcpy(&found, mnl_nlmsg_get_payload(&message), sizeof found);
  if (found.idiag_family != AF_INET && found.idiag_family != AF_INET6) return std::nullopt;

  TcpSocket socket{.flow = {}, .family = found.idiag_family, .id = found.id};
  socket.flow.local = AddressOf(found.idiag_family, found.id.idiag_src);
  socket.flow.remote = AddressOf(found.idiag_family, found.id.idiag_dst);
  socket.flow.local_port = ntohs(found.id.idiag_sport);
  socket.flow.remote_port = ntohs(found.id.idiag_dport);
  return socket;
}

uint64_t CookieOf(const TcpSocket& socket) {
  const auto& halves = socket.id.idiag_cookie;
  return uint64_t{halves[1]} << 32 | halves[0];
}

std::vector<inet_diag_bc_op> PortFilter(const std::vector<uint16_t>& ports) {
  // For each port: a comparison, the port as its argument, and a jump to the
  // end, which selects; on a difference, go on behind the jump. After the last
  // port a difference leads beyond the end, which rejects.
  constexpr size_t kOp = sizeof(inet_diag_bc_op);
  constexpr size_t kMaxPorts = (kMaxNetlinkDumpRequest - kMaxNetlinkRequest) / (3 * kOp);
  std::vector<inet_diag_bc_op> program;
  if (ports.size() > kMaxPorts) return program;
  program.reserve(3 * ports.size());
  for (size_t i = 0; i < ports.size(); ++i) {
    const bool last = i + 1 == ports.size();
    program.push_back({.code = INET_DIAG_BC_S_EQ, .yes = 2 * kOp, .no = 3 * kOp});
    program.push_back({.code = 0, .yes = 0, .no = ports[i]});
    if (last) break;
    const size_t behind = 3 * (ports.size() - i - 1) - 1;
    program.push_back(
        {.code = INET_DIAG_BC_JMP, .yes = kOp, .no = static_cast<uint16_t>((behind + 1) * kOp)});
  }
  return program;
}

absl::StatusOr<SockDiag> SockDiag::Open() {
  POSTERN_ASSIGN_OR_RETURN(NetlinkSocket netlink,
                           NetlinkSocket::Open(NETLINK_SOCK_DIAG, "TCP sockets"));
  return SockDiag(std::move(netlink));
}

absl::StatusOr<std::vector<TcpSocket>> SockDiag::List(const std::vector<uint16_t>& ports) {
  std::vector<TcpSocket> sockets;
  if (ports.empty()) return sockets;
  const absl::flat_hash_set<uint16_t> wanted(ports.begin(), ports.end());
  const std::vector<inet_diag_bc_op> filter = PortFilter({wanted.begin(), wanted.end()});
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    const size_t before = sockets.size();
    POSTERN_RETURN_IF_ERROR(netlink_.Dump(
        [&](nlmsghdr* message) {
          PutRequest(message, SOCK_DIAG_BY_FAMILY, family);
          if (filter.empty()) return;
          mnl_attr_put(message, INET_DIAG_REQ_BYTECODE, filter.size() * sizeof filter[0],
                       filter.data());
        },
        [&] { sockets.resize(before); },
        [&](const nlmsghdr& message) {
          const std::optional<TcpSocket> socket = ParseTcpSocket(message);
          if (!socket.has_value() || !wanted.contains(socket->flow.local_port)) {
            return absl::OkStatus();
          }
          if (sockets.size() == kMaxSockets) {
            return absl::ResourceExhaustedError(
                absl::StrCat("TCP sockets: more than ", kMaxSockets, " on guarded ports"));
          }
          sockets.push_back(*socket);
          return absl::OkStatus();
        }));
  }
  return sockets;
}

absl::StatusOr<std::vector<int>> SockDiag::Destroy(const std::vector<TcpSocket>& sockets) {
  return netlink_.Execute(sockets.size(), [&](size_t i, nlmsghdr* message) {
    PutRequest(message, SOCK_DESTROY, sockets[i].family)->id = sockets[i].id;
  });
}

absl::StatusOr<bool> SockDiag::CanDestroy() {
  // There is none between no addresses and no ports.
  POSTERN_ASSIGN_OR_RETURN(const std::vector<int> errors,
                           Destroy({TcpSocket{.flow = {}, .family = AF_INET, .id = {}}}));
  if (errors.front() == EPERM) return Refused(EPERM);
  return errors.front() != EOPNOTSUPP;
}

absl::Status SockDiag::Refused(int error_number) const {
  return netlink_.Refused(error_number, "destroy");
}

}  // namespace postern
