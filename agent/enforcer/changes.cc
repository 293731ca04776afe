#include "agent/enforcer/changes.h"

#include <string>

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

void AppendKeys(const Grant& grant, std::vector<AccessKey>& keys) {
  const std::vector<AccessKey> more = KeysOf(grant);
  keys.insert(keys.end(), more.begin(), more.end());
}

}  // namespace postern
