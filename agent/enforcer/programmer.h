// Keeps the kernel's table equal to what the ledger derives.

#ifndef POSTERN_AGENT_ENFORCER_PROGRAMMER_H_
#define POSTERN_AGENT_ENFORCER_PROGRAMMER_H_

#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/firewall.h"
#include "agent/grants/ledger.h"
#include "common/clock.h"

namespace postern {

// Remembers what it has installed, compares it with what the ledger wants, and
// commits the difference in one batch. Called by one thread; the ledger and the
// firewall are borrowed.
class Programmer {
 public:
  Programmer(const Ledger& ledger, Firewall& firewall) : ledger_(ledger), firewall_(firewall) {}
  Programmer(const Programmer&) = delete;
  Programmer& operator=(const Programmer&) = delete;

  // Replaces the whole table. On an error the kernel holds what it held.
  absl::Status Rebuild(const GateOptions& gate, const std::vector<Flow>& older, BootTime now);

  // Brings the elements of `keys` in line with the ledger. On an error the
  // kernel holds what it held.
  absl::Status Apply(const std::vector<AccessKey>& keys, BootTime now);

  size_t element_count() const { return installed_.size(); }

 private:
  using Element = std::pair<AccessKey, Admission>;

  // What `keys` need done at `now`.
  struct Difference {
    Transaction elements;
    absl::flat_hash_map<Element, BootTime> put;
    std::vector<Element> gone;
  };
  Difference Compare(const std::vector<AccessKey>& keys, BootTime now) const;
  void CompareOne(const Element& element, BootTime now, Difference& difference) const;
  // The sets that have elements once `difference` is applied.
  std::map<SetId, size_t> SizesAfter(const Difference& difference) const;

  const Ledger& ledger_;
  Firewall& firewall_;
  GateOptions gate_;
  absl::flat_hash_map<Element, BootTime> installed_;
  std::map<SetId, size_t> set_sizes_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_PROGRAMMER_H_
