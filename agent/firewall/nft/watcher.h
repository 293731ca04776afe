// Hears what other programs do to the gate's table.

#ifndef POSTERN_AGENT_FIREWALL_NFT_WATCHER_H_
#define POSTERN_AGENT_FIREWALL_NFT_WATCHER_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/firewall/nft/notifications.h"
#include "agent/firewall/table_change.h"

struct mnl_socket;

namespace postern::nft {

// A netlink socket of its own that the kernel announces all changes of rulesets
// to, those of our own socket left out. Belongs to the network namespace of the
// thread that opens it; used by one thread.
class Watcher {
 public:
  // `own_port` as for Notifications; `receive_bytes` is how much may wait to be
  // read (the kernel counts its own overhead in).
  static absl::StatusOr<std::unique_ptr<Watcher>> Open(uint32_t own_port,
                                                       int receive_bytes = kReceiveBytes);

  // Readable while something waits.
  int fd() const { return fd_; }

  // Reads what waits, without waiting for more. Empty when nothing of it is about
  // our table.
  absl::StatusOr<std::optional<TableChange>> Read();

 private:
  static constexpr int kReceiveBytes = 8 << 20;

  struct CloseSocket {
    void operator()(mnl_socket* socket) const;
  };
  enum class Received { kSomething, kNothing };

  Watcher(mnl_socket* socket, uint32_t own_port);
  absl::Status Prepare(uint32_t own_port, int receive_bytes);
  // One datagram, into notifications_.
  absl::StatusOr<Received> ReceiveOne();

  std::unique_ptr<mnl_socket, CloseSocket> socket_;
  int fd_ = -1;
  std::unique_ptr<char[]> buffer_;
  Notifications notifications_;
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_WATCHER_H_
