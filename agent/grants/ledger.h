// The live grants in memory, and what they add up to: which elements the kernel
// must hold and until when.

#ifndef POSTERN_AGENT_GRANTS_LEDGER_H_
#define POSTERN_AGENT_GRANTS_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "agent/grants/grant.h"
#include "common/clock.h"
#include "common/prefix.h"

namespace postern {

// How a connection is remembered that a grant admits: kKeep connections may
// outlive the grant, kCut ones are checked packet by packet. A reset grant is a
// cut grant whose sockets the agent destroys as well.
enum class Admission : uint8_t { kKeep, kCut };

constexpr Admission AdmissionOf(OnExpiry on_expiry) {
  return on_expiry == OnExpiry::kKeep ? Admission::kKeep : Admission::kCut;
}

// What the live grants say about one packet.
enum class Coverage : uint8_t { kNone, kCut, kKeep };

// Pure: no I/O and no clock. Several grants may claim one key; each claim keeps
// its own end, and the latest is the one that counts. Not thread-safe.
class Ledger {
 public:
  Ledger() = default;
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  size_t size() const { return grants_.size(); }

  // Null when no live grant has this id. Valid until that grant changes.
  const Grant* Find(absl::string_view id) const;

  // Inserts `grant`, which must be active, or replaces the one with its id.
  void Put(Grant grant);
  // Removes the grant with this id, if there is one.
  void Remove(absl::string_view id);

  // The latest end among the claims on `key` with this admission; empty when
  // there is none.
  std::optional<BootTime> WantedEnd(const AccessKey& key, Admission admission) const;

  // The grant with the earliest deadline; null without live grants.
  const Grant* EndingFirst() const;
  // The earliest deadline after `time`; empty when there is none.
  std::optional<BootTime> NextDeadlineAfter(BootTime time) const;
  // The ids of the grants whose deadline lies after `from` and at or before
  // `to`, earliest first, at most so many.
  std::vector<std::string> EndingBetween(BootTime from, BootTime to, size_t most = SIZE_MAX) const;

  // Replaces what is known of a live grant's use.
  void SetUsage(absl::string_view id, const Usage& usage);

  // The live grant that covers a packet from `source` and ends last; null when
  // none does. Grants that ended by `now` do not count.
  const Grant* Covering(const Address& source, Protocol protocol, uint16_t port,
                        BootTime now) const;
  Coverage CoverageOf(const Address& source, Protocol protocol, uint16_t port, BootTime now) const;

  // All live grants, in no particular order.
  const absl::node_hash_map<std::string, Grant>& grants() const { return grants_; }

 private:
  // Ordered by deadline. The pointer is stable: grants_ is a node map.
  using Claims = absl::btree_set<std::pair<BootTime, const Grant*>>;
  struct KeyClaims {
    Claims keep;
    Claims cut;
    bool empty() const { return keep.empty() && cut.empty(); }
  };

  // The claims on the keys, one of each prefix length, that a packet could match.
  std::vector<const KeyClaims*> Matching(const Address& source, Protocol protocol,
                                         uint16_t port) const;
  void AddClaims(const Grant& grant);
  void DropClaims(const Grant& grant);

  absl::node_hash_map<std::string, Grant> grants_;
  absl::flat_hash_map<AccessKey, KeyClaims> claims_;
  Claims by_deadline_;
  // How many keys there are of each family and prefix length.
  std::map<std::pair<Family, int>, size_t> lengths_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_GRANTS_LEDGER_H_
