#include "tests/fakes/fake_sessions.h"

#include <algorithm>

namespace postern {

absl::StatusOr<LiveFlows> FakeSessions::ListLive(const std::vector<uint16_t>& ports) {
  if (!failure_.ok()) return failure_;
  LiveFlows flows;
  for (const Flow& flow : live) {
    if (std::find(ports.begin(), ports.end(), flow.local_port) != ports.end()) {
      const auto cookie = cookies.find(flow);
      flows[flow] = cookie == cookies.end() ? 0 : cookie->second;
    }
  }
  return flows;
}

absl::StatusOr<EndReport> FakeSessions::End(const std::vector<EndedGrant>& ended,
                                            const CoverageFunction& coverage,
                                            const std::set<Flow>& spared) {
  calls.push_back(ended);
  if (!failure_.ok()) return failure_;
  const auto covered = [](const EndedGrant& grant, const Flow& flow) {
    return std::any_of(grant.keys.begin(), grant.keys.end(), [&](const AccessKey& key) {
      return key.protocol == Protocol::kTcp && key.port == flow.local_port &&
             key.source.Contains(flow.remote);
    });
  };
  EndReport report;
  for (auto it = live.begin(); it != live.end();) {
    const Flow& flow = *it;
    const bool was_admitted = std::any_of(
        ended.begin(), ended.end(), [&](const EndedGrant& grant) { return covered(grant, flow); });
    const bool ends = was_admitted && !spared.contains(flow) &&
                      coverage(flow.remote, Protocol::kTcp, flow.local_port) == Coverage::kNone;
    it = ends ? live.erase(it) : std::next(it);
    if (ends) ++report.sockets_destroyed, ++report.flows_cut;
  }
  return report;
}

}  // namespace postern
