#include "agent/enforcer/changes.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace postern {

AuditEvent EventOf(AuditKind kind, const Grant& grant, absl::string_view actor, absl::Time time) {
  return AuditEvent{
      .time = time,
      .kind = kind,
      .actor = std::string(actor),
      .grant_id = grant.id,
      .requestor = grant.requestor,
      .sources = grant.sources,
      .ports = grant.ports,
      .end = grant.end,
      .detail = {},
  };
}

AuditEvent AgentEvent(AuditKind kind, absl::string_view actor, absl::string_view detail,
                      absl::Time time) {
  AuditEvent event;
  event.time = time;
  event.kind = kind;
  event.actor = std::string(actor);
  event.detail = std::string(detail);
  return event;
}

Write WriteOf(const Grant& grant, const AuditEvent& event) {
  Write write;
  write.put = grant;
  write.audit = event;
  return write;
}

std::string WhyNotRestored(const absl::Status& why) {
  return absl::StrCat("they could not be restored yet (", why.message(), "); it is tried again");
}

std::vector<Flow> FlowsOf(const LiveFlows& flows) {
  std::vector<Flow> keys;
  keys.reserve(flows.size());
  for (const auto& [flow, cookie] : flows) keys.push_back(flow);
  return keys;
}

void AppendKeys(const Grant& grant, std::vector<AccessKey>& keys) {
  const std::vector<AccessKey> more = KeysOf(grant);
  keys.insert(keys.end(), more.begin(), more.end());
}

}  // namespace postern
