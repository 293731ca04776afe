#include "agent/enforcer/usage.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "agent/grants/ledger.h"
#include "common/status.h"

namespace postern {
namespace {

// From this many elements of one set on, one dump of the set is cheaper than
// asking for each.
constexpr size_t kDumpFrom = 256;

using Claims = std::vector<std::pair<AccessKey, Grant*>>;

void Add(const InstalledElement& element, const Now& now, Usage& usage) {
  if (element.counter.packets == 0) return;
  usage.packets += element.counter.packets;
  usage.bytes += element.counter.bytes;
  const absl::Time last = now.wall - element.since_last_use.value_or(absl::ZeroDuration());
  usage.first_used = std::min(usage.first_used.value_or(last), last);
  usage.last_used = std::max(usage.last_used.value_or(last), last);
}

absl::Status AddEach(Firewall& firewall, const SetId& set, const Claims& claims, const Now& now) {
  for (const auto& [key, grant] : claims) {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<InstalledElement> element,
                             firewall.ReadElement(set, key));
    if (element) Add(*element, now, grant->usage);
  }
  return absl::OkStatus();
}

absl::Status AddFromDump(Firewall& firewall, const SetId& set, const Claims& claims,
                         const Now& now) {
  absl::StatusOr<std::vector<InstalledElement>> elements = firewall.ReadElements(set);
  if (absl::IsNotFound(elements.status())) return absl::OkStatus();
  if (!elements.ok()) return elements.status();
  absl::flat_hash_map<AccessKey, const InstalledElement*> by_key;
  for (const InstalledElement& element : *elements) by_key.emplace(element.key, &element);
  for (const auto& [key, grant] : claims) {
    if (const auto it = by_key.find(key); it != by_key.end()) Add(*it->second, now, grant->usage);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddUsage(Firewall& firewall, const Now& now, const std::vector<Grant*>& grants) {
  std::map<SetId, Claims> by_set;
  for (Grant* grant : grants) {
    for (const AccessKey& key : KeysOf(*grant)) {
      by_set[SetOf(key, AdmissionOf(grant->on_expiry))].emplace_back(key, grant);
    }
  }
  for (const auto& [set, claims] : by_set) {
    POSTERN_RETURN_IF_ERROR(claims.size() < kDumpFrom ? AddEach(firewall, set, claims, now)
                                                      : AddFromDump(firewall, set, claims, now));
  }
  return absl::OkStatus();
}

}  // namespace postern
