// How many connections there are, from where, and which make room for another.

#ifndef POSTERN_AGENT_RPC_CONNECTIONS_H_
#define POSTERN_AGENT_RPC_CONNECTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "common/grpc/peer.h"
#include "common/prefix.h"

namespace postern {

struct ConnectionLimits {
  size_t total;
  size_t per_source;
};

// Counts connections that somebody else closes. gRPC owns an accepted descriptor
// and says nothing when it closes it, so each is remembered with its inode: a
// descriptor that is closed, or names another inode by now, is gone.
//
// Where there is no room for one more, one that is there is ended: one on which
// no authenticated call has been made, such as one that has not finished its
// handshake, of the source that has most of those, the oldest; without any such,
// the one whose last call is longest ago. One with an open call is never ended.
class ConnectionTable {
 public:
  enum class Admission { kRefused, kAdmitted, kInPlaceOfAnother };

  // One call of an authenticated peer, from its begin to its end. Any thread.
  class Call {
   public:
    // `peer` is empty on a Unix socket, whose connections cannot be told apart.
    Call(ConnectionTable& table, const std::optional<Endpoint>& peer);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();

   private:
    ConnectionTable& table_;
    // Connection::admitted of the one it came on; 0 where that is not known. The
    // peer alone would not do: its port may be another connection's by the end.
    const uint64_t connection_;
  };

  explicit ConnectionTable(ConnectionLimits limits) : limits_(limits) {}

  // Whether there is, or was made, room for `fd`, an open connection from `peer`,
  // which is counted then. Connections without a peer share the total only. Only the
  // thread that accepts connections: another socket of this process that took the
  // number of a closed one meanwhile could be ended in its place.
  Admission Admit(int fd, const std::optional<Endpoint>& peer);

  // The connections that are open.
  size_t CountLive();

 private:
  struct Connection {
    dev_t device = 0;
    ino_t inode = 0;
    std::optional<Endpoint> peer;
    // The network it comes from.
    std::optional<Address> source;
    uint64_t admitted = 0;
    // When the last authenticated call began or ended, counted like `admitted`; 0
    // for never.
    uint64_t used = 0;
    int calls = 0;
    // Told to end, and not closed yet.
    bool ending = false;
  };

  bool FitsTotal() const;
  bool FitsSource(const std::optional<Address>& source) const;
  bool Fits(const std::optional<Address>& source) const {
    return FitsTotal() && FitsSource(source);
  }
  void Prune();
  bool MakeRoom(const std::optional<Address>& source);
  uint64_t BeginCall(const std::optional<Endpoint>& peer);
  void EndCall(uint64_t connection);

  const ConnectionLimits limits_;
  std::mutex mutex_;
  // By descriptor.
  std::unordered_map<int, Connection> connections_;
  uint64_t turn_ = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_CONNECTIONS_H_
