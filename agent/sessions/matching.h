// Which flows and sockets end with a grant. Pure: no I/O and no clock.

#ifndef POSTERN_AGENT_SESSIONS_MATCHING_H_
#define POSTERN_AGENT_SESSIONS_MATCHING_H_

#include <compare>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "agent/firewall/ruleset.h"
#include "agent/grants/grant.h"
#include "agent/sessions/sessions.h"
#include "common/prefix.h"

namespace postern {

// A flow as connection tracking holds it.
struct TrackedFlow {
  Protocol protocol = Protocol::kTcp;
  // What the client sent, before any translation of addresses: what the gate
  // has judged.
  Flow sent;
  // As the socket that serves the flow sees it. Differs from `sent` where a
  // rule redirects the port or the destination.
  Flow served;
  // Marked for cutting: admitted by a cut grant, or marked since.
  bool cut = false;
};

enum class FlowAction : uint8_t {
  kLeave,
  // Mark it: a cut grant covers it, and it ends with that one.
  kMark,
  // Mark it and destroy its socket: nothing covers it.
  kEnd,
};

enum class SocketAction : uint8_t {
  kLeave,
  kDestroy,
  // Destroy it unless conntrack knows a flow of these addresses and ports, in
  // either direction.
  kDestroyIfUntracked,
};

// Prefixes that are found by an address they hold, in a time that depends on
// how many lengths there are and not on how many prefixes.
class PrefixIndex {
 public:
  void Insert(const Prefix& prefix);
  bool Contains(const Address& address) const;

 private:
  std::set<std::pair<Family, uint8_t>> lengths_;
  absl::flat_hash_set<Prefix> prefixes_;
};

// The keys of ended grants, found by what a packet carries.
class EndedKeys {
 public:
  // How a flow must have been admitted to end.
  struct Admitted {
    bool by_keep = false;
    bool by_cut = false;
  };
  // Where the flows of the keys are to be looked for.
  struct Service {
    Family family = Family::kIpv4;
    Protocol protocol = Protocol::kTcp;
    uint16_t port = 0;
    friend auto operator<=>(const Service&, const Service&) = default;
  };

  explicit EndedKeys(const std::vector<EndedGrant>& ended);

  bool empty() const { return keys_.empty(); }
  Admitted Find(const Address& source, Protocol protocol, uint16_t port) const;
  const std::set<Service>& services() const { return services_; }
  // Of keep grants, TCP.
  const std::set<uint16_t>& keep_ports() const { return keep_ports_; }

 private:
  std::set<std::pair<Family, uint8_t>> lengths_;
  std::set<Service> services_;
  std::set<uint16_t> keep_ports_;
  absl::flat_hash_map<AccessKey, Admitted> keys_;
};

// One decision about all that ended together: first each flow is judged, then
// each socket. Borrows its arguments. Not thread-safe.
class Matching {
 public:
  // `local` are the addresses of this host.
  Matching(const EndedKeys& ended, const Sessions::CoverageFunction& coverage,
           const std::set<Flow>& spared, const PrefixIndex& local)
      : ended_(ended), coverage_(coverage), spared_(spared), local_(local) {}

  FlowAction Judge(const TrackedFlow& flow);

  // The local ports that sockets to destroy can have; for after the flows.
  std::vector<uint16_t> SocketPorts() const;
  SocketAction JudgeSocket(const Flow& socket) const;

 private:
  struct FlowHash {
    size_t operator()(const Flow& f) const {
      return absl::HashOf(f.remote, f.remote_port, f.local, f.local_port);
    }
  };

  FlowAction Decide(const TrackedFlow& flow, EndedKeys::Admitted admitted) const;

  const EndedKeys& ended_;
  const Sessions::CoverageFunction& coverage_;
  const std::set<Flow>& spared_;
  const PrefixIndex& local_;
  // The TCP flows of the ended keys as their sockets see them, and whether they
  // end.
  absl::flat_hash_map<Flow, bool, FlowHash> tracked_;
  std::set<uint16_t> ended_ports_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_MATCHING_H_
