// The host's TCP sockets, by the kernel's sock_diag(7).

#ifndef POSTERN_AGENT_SESSIONS_SOCK_DIAG_H_
#define POSTERN_AGENT_SESSIONS_SOCK_DIAG_H_

#include <linux/inet_diag.h>
#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/firewall/ruleset.h"
#include "agent/sessions/netlink.h"

namespace postern {

struct TcpSocket {
  // IPv4 also where an IPv6 socket carries it (mapped addresses).
  Flow flow;
  // How the kernel names the socket, its cookie included.
  uint8_t family = 0;
  inet_diag_sockid id = {};
};

// The kernel's number of the socket, which no other one gets before a reboot.
uint64_t CookieOf(const TcpSocket& socket);

// Called by one thread.
class SockDiag {
 public:
  // Opened in the calling thread's network namespace.
  static absl::StatusOr<SockDiag> Open();

  // The connected sockets, handshakes and closing ones included, whose local
  // port is one of `ports`; not those that listen or wait (TIME_WAIT). Without
  // ports there are none. RESOURCE_EXHAUSTED beyond a million.
  absl::StatusOr<std::vector<TcpSocket>> List(const std::vector<uint16_t>& ports);

  // Destroys the sockets: each peer gets a reset. Returns the errno of each, 0
  // for destroyed, in the same order. A socket that has gone meanwhile counts as
  // an error (ENOENT, ESTALE).
  absl::StatusOr<std::vector<int>> Destroy(const std::vector<TcpSocket>& sockets);

  // Whether the kernel can destroy sockets at all (CONFIG_INET_DIAG_DESTROY).
  absl::StatusOr<bool> CanDestroy();

  // The status for an errno that Destroy returned.
  absl::Status Refused(int error_number) const;

 private:
  explicit SockDiag(NetlinkSocket netlink) : netlink_(std::move(netlink)) {}

  NetlinkSocket netlink_;
};

// Reads one message of the kernel's answer; empty when it is no TCP socket of
// IPv4 or IPv6, or cut off.
std::optional<TcpSocket> ParseTcpSocket(const nlmsghdr& message);

// The program by which the kernel selects sockets whose local port is one of
// `ports` (INET_DIAG_REQ_BYTECODE). Empty, which selects all, when there are too
// many for one request.
std::vector<inet_diag_bc_op> PortFilter(const std::vector<uint16_t>& ports);

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_SOCK_DIAG_H_
