// How many connections there are, and from where.

#ifndef POSTERN_AGENT_RPC_CONNECTIONS_H_
#define POSTERN_AGENT_RPC_CONNECTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <unordered_map>

#include "common/prefix.h"

namespace postern {

struct ConnectionLimits {
  size_t total;
  size_t per_source;
};

// Counts connections that somebody else closes. gRPC owns an accepted descriptor
// and says nothing when it closes it, so each is remembered with its inode: a
// descriptor that is closed, or names another inode by now, is gone. Not
// thread-safe.
class ConnectionTable {
 public:
  explicit ConnectionTable(ConnectionLimits limits) : limits_(limits) {}

  // Whether there is room for `fd`, an open connection from `source`; it is
  // counted when there is. Connections without a source share the total only.
  bool Admit(int fd, const std::optional<Address>& source);

  // The connections that are open.
  size_t CountLive();

 private:
  struct Connection {
    dev_t device = 0;
    ino_t inode = 0;
    std::optional<Address> source;
  };

  bool Fits(const std::optional<Address>& source) const;
  void Prune();

  ConnectionLimits limits_;
  std::unordered_map<int, Connection> connections_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_CONNECTIONS_H_
