// Connections that are older than the gate: no grant admitted them, and none ends
// them.

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/enforcer/changes.h"
#include "agent/enforcer/gatekeeper.h"
#include "common/status.h"

namespace postern {
namespace {

// How often it is looked which of them live.
constexpr absl::Duration kOlderInterval = absl::Minutes(1);

bool MayHaveAdmitted(const Grant& grant, const Flow& flow) {
  const std::vector<AccessKey> keys = SessionKeysOf(grant);
  return std::any_of(keys.begin(), keys.end(), [&](const AccessKey& key) {
    return key.protocol == Protocol::kTcp && key.port == flow.local_port &&
           key.source.Contains(flow.remote);
  });
}

}  // namespace

// With a table standing, only what it knew as older is: the rest came through the gate.
// Without one, what a grant covers may have come by it, and ends with it.
absl::StatusOr<LiveFlows> Gatekeeper::OlderFlowsAtStart(const std::vector<Grant>& ended,
                                                        const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(LiveFlows live, with_.sessions.ListLive(options_.gate.ports));
  POSTERN_ASSIGN_OR_RETURN(const bool standing, with_.firewall.HasTable());
  if (!standing) {
    std::vector<Grant> others = ended;
    for (const auto& [id, grant] : ledger_.grants()) {
      if (!grant.earlier_sources.empty()) others.push_back(grant);
    }
    std::erase_if(live, [&](const auto& entry) {
      const Flow& flow = entry.first;
      return ledger_.CoverageOf(flow.remote, Protocol::kTcp, flow.local_port, now.boot) !=
                 Coverage::kNone ||
             std::any_of(others.begin(), others.end(),
                         [&](const Grant& grant) { return MayHaveAdmitted(grant, flow); });
    });
    return live;
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<Flow> known, with_.firewall.ReadOlderFlows());
  const std::set<Flow> older(known.begin(), known.end());
  std::erase_if(live, [&](const auto& entry) { return !older.contains(entry.first); });
  return live;
}

// Where the gate was not closed before, what is live now is older than it.
absl::StatusOr<LiveFlows> Gatekeeper::OlderFlowsAfter(const GatekeeperOptions& next) {
  POSTERN_ASSIGN_OR_RETURN(LiveFlows live, with_.sessions.ListLive(next.gate.ports));
  const bool was_open = !options_.gate.enforce;
  const std::vector<uint16_t>& guarded = options_.gate.ports;
  std::erase_if(live, [&](const auto& entry) {
    const bool newly_guarded =
        std::find(guarded.begin(), guarded.end(), entry.first.local_port) == guarded.end();
    const auto known = older_.find(entry.first);
    const bool is_older = known != older_.end() && known->second == entry.second;
    return !was_open && !newly_guarded && !is_older;
  });
  return live;
}

std::optional<BootTime> Gatekeeper::NextLookAtOlder() const {
  if (older_.empty()) return std::nullopt;
  return older_seen_at_ + kOlderInterval;
}

void Gatekeeper::PruneOlderDue(const Now& now) {
  if (const std::optional<BootTime> next = NextLookAtOlder(); next && *next <= now.boot) {
    PruneOlder(now);
  }
}

void Gatekeeper::PruneOlder(const Now& now) {
  // The table that is wanted is made first.
  if (older_.empty() || resync_wanted_) return;
  older_seen_at_ = now.boot;
  const absl::StatusOr<LiveFlows> live = with_.sessions.ListLive(options_.gate.ports);
  if (!live.ok()) {
    return Report(live.status(), "looking which connections that are older than the gate live");
  }
  LiveFlows left;
  const std::set<Flow> missed_before = std::exchange(older_missed_, {});
  for (const auto& [flow, cookie] : older_) {
    const auto found = live->find(flow);
    // The kernel may leave one out of a list that changes while it is read.
    const bool is_missed_again = found == live->end() && missed_before.contains(flow);
    const bool is_another = found != live->end() && found->second != cookie;
    if (is_another || is_missed_again) continue;
    left.emplace(flow, cookie);
    if (found == live->end()) older_missed_.insert(flow);
  }
  if (left.size() == older_.size()) return;
  const UsageBefore usage =
      programmer_.element_count() <= kMostElementsRead ? UsageBefore::kRead : UsageBefore::kKnown;
  const absl::Status status = RebuildTable(options_.gate, left, usage, DeniedToKeep(options_.gate));
  if (status.ok()) return;
  Report(status, "forgetting connections that were older than the gate");
  older_ = std::move(left);
  Resync();
}

}  // namespace postern
