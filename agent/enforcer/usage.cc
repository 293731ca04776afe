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

void Add(const InstalledElement& element, Usage& usage) {
  usage.packets += element.counter.packets;
  usage.bytes += element.counter.bytes;
}

absl::Status AddEach(Firewall& firewall, const SetId& set, const Claims& claims) {
  for (const auto& [key, grant] : claims) {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<InstalledElement> element,
                             firewall.ReadElement(set, key));
    if (element) Add(*element, grant->usage);
  }
  return absl::OkStatus();
}

absl::Status AddFromDump(Firewall& firewall, const SetId& set, const Claims& claims) {
  absl::StatusOr<std::vector<InstalledElement>> elements = firewall.ReadElements(set);
  if (absl::IsNotFound(elements.status())) return absl::OkStatus();
  if (!elements.ok()) return elements.status();
  absl::flat_hash_map<AccessKey, const InstalledElement*> by_key;
  for (const InstalledElement& element : *elements) by_key.emplace(element.key, &element);
  for (const auto& [key, grant] : claims) {
    if (const auto it = by_key.find(key); it != by_key.end()) Add(*it->second, grant->usage);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddCounters(Firewall& firewall, const std::vector<Grant*>& grants) {
  std::map<SetId, Claims> by_set;
  for (Grant* grant : grants) {
    for (const AccessKey& key : KeysOf(*grant)) {
      by_set[SetOf(key, AdmissionOf(grant->on_expiry))].emplace_back(key, grant);
    }
  }
  for (const auto& [set, claims] : by_set) {
    POSTERN_RETURN_IF_ERROR(claims.size() < kDumpFrom ? AddEach(firewall, set, claims)
                                                      : AddFromDump(firewall, set, claims));
  }
  return absl::OkStatus();
}

absl::Status UsageReader::Read(const Now& now, const std::vector<Grant*>& grants) {
  std::vector<Usage> before;
  before.reserve(grants.size());
  for (const Grant* grant : grants) before.push_back(LastReading(*grant));
  POSTERN_RETURN_IF_ERROR(AddCounters(firewall_, grants));
  for (size_t i = 0; i < grants.size(); ++i) {
    Usage& usage = grants[i]->usage;
    // Somebody may have taken the element away, and its counter with it.
    usage.packets = std::max(usage.packets, before[i].packets);
    usage.bytes = std::max(usage.bytes, before[i].bytes);
    usage.first_used = before[i].first_used;
    usage.last_used = before[i].last_used;
    if (usage.packets > before[i].packets) {
      usage.first_used = usage.first_used.value_or(now.wall);
      usage.last_used = now.wall;
    }
    readings_[grants[i]->id] = usage;
  }
  return absl::OkStatus();
}

Usage UsageReader::LastReading(const Grant& grant) const {
  const auto it = readings_.find(grant.id);
  return it == readings_.end() ? grant.usage : it->second;
}

void UsageReader::Forget(absl::string_view id) { readings_.erase(id); }

}  // namespace postern
