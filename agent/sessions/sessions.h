// Live sessions on guarded ports: which there are, and ending them.

#ifndef POSTERN_AGENT_SESSIONS_SESSIONS_H_
#define POSTERN_AGENT_SESSIONS_SESSIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/firewall/ruleset.h"
#include "agent/grants/grant.h"
#include "agent/grants/ledger.h"
#include "common/prefix.h"

namespace postern {

// The sessions of an ended grant: its elements, and how it admitted them.
struct EndedGrant {
  std::vector<AccessKey> keys;
  Admission admission = Admission::kKeep;
};

// Connections, each with what tells it from a later one of the same addresses and
// ports.
using LiveFlows = std::map<Flow, uint64_t>;

struct EndReport {
  int sockets_destroyed = 0;
  int flows_cut = 0;
};

// Called by one thread.
class Sessions {
 public:
  virtual ~Sessions() = default;

  // The TCP connections whose local port is one of `ports`, except loopback
  // ones.
  virtual absl::StatusOr<LiveFlows> ListLive(const std::vector<uint16_t>& ports) = 0;

  // Ends the sessions that the ended grants admitted and that no live grant
  // covers any more (`coverage` tells). `spared` are left alone.
  //   - one that nothing covers: its flow is marked for cutting, and its local
  //     socket, if it has one, is destroyed;
  //   - one that only a cut grant covers: its flow is marked, so that it ends
  //     with that grant;
  //   - one that a keep grant covers: left alone.
  // After `cut` grants only flows that were admitted so are ended.
  // UNIMPLEMENTED where no packet of theirs passes any more, and their sockets
  // cannot be destroyed, now or later.
  using CoverageFunction = std::function<Coverage(const Address&, Protocol, uint16_t port)>;
  virtual absl::StatusOr<EndReport> End(const std::vector<EndedGrant>& ended,
                                        const CoverageFunction& coverage,
                                        const std::set<Flow>& spared) = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_SESSIONS_H_
