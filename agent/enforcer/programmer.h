// Keeps the kernel's table equal to what the ledger derives.

#ifndef POSTERN_AGENT_ENFORCER_PROGRAMMER_H_
#define POSTERN_AGENT_ENFORCER_PROGRAMMER_H_

#include <cstddef>
#include <map>
#include <optional>
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

  // Replaces the whole table; `denied` are the refused sources that it begins
  // with. On an error the kernel holds what it held.
  absl::Status Rebuild(const GateOptions& gate, const std::vector<Flow>& older,
                       const std::vector<InstalledElement>& denied, BootTime now);

  // Brings the elements of `keys` in line with the ledger. On an error the
  // kernel holds what it held.
  absl::Status Apply(const std::vector<AccessKey>& keys, BootTime now);

  // Sends every installed element's end again: the kernel's timeouts do not count
  // the time that the machine slept. On an error some may be late still.
  absl::Status Retime(BootTime now);

  // A set that is empty stays for a while, with its rule: the next grant of its
  // prefix length is spared the making. Prune removes those whose time has come;
  // NextPrune says when it will, and is empty when no set is.
  absl::Status Prune(BootTime now);
  std::optional<BootTime> NextPrune() const;

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
  // How many elements each set has once `difference` is applied.
  std::map<SetId, size_t> SizesAfter(const Difference& difference) const;
  void TakeSizes(std::map<SetId, size_t> sizes, BootTime now);

  const Ledger& ledger_;
  Firewall& firewall_;
  GateOptions gate_;
  absl::flat_hash_map<Element, BootTime> installed_;
  // Of all sets that the kernel holds.
  std::map<SetId, size_t> set_sizes_;
  // Since when the empty ones among them are.
  std::map<SetId, BootTime> empty_since_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_PROGRAMMER_H_
