// Hears of the sources that the gate refuses for the first time.

#ifndef POSTERN_AGENT_FIREWALL_NFT_DENIED_LOG_H_
#define POSTERN_AGENT_FIREWALL_NFT_DENIED_LOG_H_

#include <linux/netlink.h>

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "agent/grants/grant.h"

struct mnl_socket;

namespace postern::nft {

// Who sent the packet that begins with `bytes`, an IPv4 or IPv6 header first, and
// to which TCP or UDP port: a key of the source's whole address. Empty for
// another protocol, or where too little of the packet is there.
std::optional<AccessKey> ParseKnock(absl::Span<const uint8_t> bytes);

// The packet's first bytes in a message of nfnetlink_log; empty in any other.
absl::Span<const uint8_t> ParseLogged(const nlmsghdr& message);

// The one listener of the group kDeniedLogGroup of a network namespace: that of
// the thread that opens it. Used by one thread.
class DeniedLog {
 public:
  // UNAVAILABLE where the kernel has no nfnetlink_log, or another process listens
  // to the group, or CAP_NET_ADMIN is missing.
  static absl::StatusOr<std::unique_ptr<DeniedLog>> Open();

  // Readable while something waits.
  int fd() const { return fd_; }

  // What waits, without waiting for more. What the kernel had no room for is
  // missing.
  absl::StatusOr<std::vector<AccessKey>> Read();

 private:
  struct CloseSocket {
    void operator()(mnl_socket* socket) const;
  };

  explicit DeniedLog(mnl_socket* socket);
  absl::Status Listen();
  absl::Status AwaitAnswer(uint32_t sequence);

  std::unique_ptr<mnl_socket, CloseSocket> socket_;
  int fd_ = -1;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_DENIED_LOG_H_
