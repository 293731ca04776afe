// How many streams are open, and whose.

#ifndef POSTERN_AGENT_RPC_STREAMS_H_
#define POSTERN_AGENT_RPC_STREAMS_H_

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace postern {

struct StreamLimits {
  // Of all peers with a role.
  size_t total;
  // Of each of them, by the name that agent.yaml knows.
  size_t per_peer;
  // Of all peers without a role; apart, so that they keep nobody out.
  size_t without_role;
};

// All callers are one peer, apart from the remote ones.
inline constexpr StreamLimits kLocalStreams = {.total = 16, .per_peer = 16, .without_role = 0};
inline constexpr StreamLimits kRemoteStreams = {.total = 48, .per_peer = 24, .without_role = 64};

// The streams of one server, of every method. Any thread.
class StreamTable {
 public:
  // One of them, until it is destroyed.
  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class StreamTable;
    Place(StreamTable& table, std::string peer) : table_(table), peer_(std::move(peer)) {}

    StreamTable& table_;
    // Empty without a role.
    const std::string peer_;
  };

  explicit StreamTable(StreamLimits limits) : limits_(limits) {}

  // A place for a stream of `peer`, which is empty for one without a role.
  // RESOURCE_EXHAUSTED, naming the bound, when there is none.
  absl::StatusOr<std::unique_ptr<Place>> Take(const std::string& peer);

 private:
  absl::Status CheckRoom(const std::string& peer) const;
  void Leave(const std::string& peer);

  const StreamLimits limits_;
  std::mutex mutex_;
  std::map<std::string, size_t> by_peer_;
  size_t with_role_ = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_STREAMS_H_
