// Proof of use: what the kernel's element counters say about grants.

#ifndef POSTERN_AGENT_ENFORCER_USAGE_H_
#define POSTERN_AGENT_ENFORCER_USAGE_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/firewall.h"
#include "agent/grants/grant.h"
#include "common/clock.h"

namespace postern {

// Reads usage and remembers what it read. The kernel counts packets and does
// not say when they came, so a grant counts as used at the reading that finds
// new packets: first_used and last_used are never too early, and late by at most
// the time between two readings. Called by one thread; the firewall is borrowed.
class UsageReader {
 public:
  explicit UsageReader(Firewall& firewall) : firewall_(firewall) {}

  // Brings the usage of each grant up to date. What it says on entry is what was
  // counted before the standing table was made; what the table has counted is
  // added. What was read before is never taken back. An element that several
  // grants share counts for each of them.
  absl::Status Read(const Now& now, const std::vector<Grant*>& grants);

  // The usage of `grant` as last read; its own where it was never read.
  Usage LastReading(const Grant& grant) const;
  void Forget(absl::string_view id);

 private:
  Firewall& firewall_;
  absl::flat_hash_map<std::string, Usage> readings_;
};

// Adds what the kernel has counted for the elements of `grant` to its packets
// and bytes. A set or an element that is not there counts nothing.
absl::Status AddCounters(Firewall& firewall, const std::vector<Grant*>& grants);

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_USAGE_H_
