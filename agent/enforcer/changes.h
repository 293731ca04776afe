// What the gatekeeper's parts share about changes of grants.

#ifndef POSTERN_AGENT_ENFORCER_CHANGES_H_
#define POSTERN_AGENT_ENFORCER_CHANGES_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"

namespace postern {

// The actor of what the agent does by itself.
inline constexpr char kAgentActor[] = "agent";
// After how long what could not be done is tried again.
inline constexpr absl::Duration kRetryAfter = absl::Seconds(1);

// An event about `grant`; its number and detail are left for the caller.
AuditEvent EventOf(AuditKind kind, const Grant& grant, absl::string_view actor, absl::Time time);

void AppendKeys(const Grant& grant, std::vector<AccessKey>& keys);

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_CHANGES_H_
