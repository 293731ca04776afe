// What the gatekeeper's parts share about changes of grants.

#ifndef POSTERN_AGENT_ENFORCER_CHANGES_H_
#define POSTERN_AGENT_ENFORCER_CHANGES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"
#include "agent/sessions/sessions.h"
#include "agent/store/store.h"

namespace postern {

// The actor of what the agent does by itself.
inline constexpr char kAgentActor[] = "agent";
// After how long what could not be done is tried again.
inline constexpr absl::Duration kRetryAfter = absl::Seconds(1);

// How often it is looked whether the wall clock can be trusted, while grants wait
// for that.
inline constexpr absl::Duration kTrustInterval = absl::Seconds(5);

// Up to how many elements their counters are read where nobody asked for them: a
// dump of so many takes milliseconds.
inline constexpr size_t kMostElementsRead = 10'000;

// An event about `grant`; its number and detail are left for the caller.
AuditEvent EventOf(AuditKind kind, const Grant& grant, absl::string_view actor, absl::Time time);

// An event about no grant.
AuditEvent AgentEvent(AuditKind kind, absl::string_view actor, absl::string_view detail,
                      absl::Time time);

Write WriteOf(const Grant& grant, const AuditEvent& event);

// Why grants of another boot wait, where recording what becomes of them failed.
std::string WhyNotRestored(const absl::Status& why);

std::vector<Flow> FlowsOf(const LiveFlows& flows);

void AppendKeys(const Grant& grant, std::vector<AccessKey>& keys);

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_CHANGES_H_
