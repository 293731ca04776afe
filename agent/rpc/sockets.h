// The sockets that the agent listens on, and what comes in on them.

#ifndef POSTERN_AGENT_RPC_SOCKETS_H_
#define POSTERN_AGENT_RPC_SOCKETS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/fd.h"
#include "common/grpc/peer.h"
#include "common/prefix.h"

namespace postern {

// A listening Unix socket; its file goes with it.
class LocalListener {
 public:
  // Listens on `path`, which may hold a socket that nobody answers on. Members of
  // `group` may connect; where there is no such group, or this process may not
  // give files to it, only this process's user may, and warning() says so.
  static absl::StatusOr<LocalListener> Listen(const std::string& path, const std::string& group);
  // The same, and every user of this host may connect.
  static absl::StatusOr<LocalListener> ListenForAll(const std::string& path);

  LocalListener(LocalListener&&) = default;
  LocalListener& operator=(LocalListener&&) = delete;
  ~LocalListener();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // Empty when all is as it should be.
  const std::string& warning() const { return warning_; }

 private:
  LocalListener(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  static absl::StatusOr<LocalListener> Open(const std::string& path);
  absl::Status Bind();
  absl::Status Listen();

  Fd fd_;
  std::string path_;
  // The file as it was made: another's is not removed.
  dev_t device_ = 0;
  ino_t inode_ = 0;
  gid_t group_ = 0;
  std::string warning_;
};

// Listens on `address` and `port`; "::" takes IPv4 as well. With port 0 the
// kernel chooses one.
absl::StatusOr<Fd> ListenTcp(const Address& address, uint16_t port);

// Whether this host does not have `address`: a socket may listen on it all the same.
bool IsMissing(const Address& address);

struct Accepted {
  Fd fd;
  // The other side's; an IPv4-mapped one is IPv4. Empty on a Unix socket.
  std::optional<Endpoint> peer;
};

// The next connection that waits on `listener`, non-blocking and close-on-exec.
// UNAVAILABLE when none waits; RESOURCE_EXHAUSTED when this process or the
// machine has no descriptor left.
absl::StatusOr<Accepted> AcceptOne(int listener);

// A descriptor for when no other is left: a connection that waits would wake an
// event loop for ever.
class SpareDescriptor {
 public:
  SpareDescriptor();

  // Takes the next connection from `listener` with it, and closes that; whether
  // one waited.
  bool TurnAwayOne(int listener);

 private:
  Fd fd_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_SOCKETS_H_
