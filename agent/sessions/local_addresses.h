// The addresses of this host, as the kernel routes them.

#ifndef POSTERN_AGENT_SESSIONS_LOCAL_ADDRESSES_H_
#define POSTERN_AGENT_SESSIONS_LOCAL_ADDRESSES_H_

#include <linux/netlink.h>

#include <optional>

#include "absl/status/statusor.h"
#include "agent/sessions/matching.h"
#include "agent/sessions/netlink.h"
#include "common/prefix.h"

namespace postern {

// Called by one thread.
class LocalAddresses {
 public:
  // Opened in the calling thread's network namespace.
  static absl::StatusOr<LocalAddresses> Open();

  // What the gate takes for this host's (`fib daddr type != unicast`): the
  // routes of the local table, those to whole prefixes included.
  absl::StatusOr<PrefixIndex> Read();

 private:
  explicit LocalAddresses(NetlinkSocket netlink) : netlink_(std::move(netlink)) {}

  NetlinkSocket netlink_;
};

// Reads one route; empty when it is a unicast one or of another table, or cut
// off.
std::optional<Prefix> ParseLocalRoute(const nlmsghdr& message);

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_LOCAL_ADDRESSES_H_
