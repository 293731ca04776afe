// How the agent speaks of itself: journal lines for events, and the status line.

#ifndef POSTERN_AGENT_APP_JOURNAL_H_
#define POSTERN_AGENT_APP_JOURNAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"

namespace postern {

// One line, with the fields POSTERN_EVENT, POSTERN_GRANT, POSTERN_ACTOR,
// POSTERN_REQUESTOR and POSTERN_NUMBER.
void LogEvent(const AuditEvent& event);

// One line about a source that the gate refused and did not remember, or (where
// it does not enforce) would have refused; with the fields POSTERN_EVENT
// ("denied"), POSTERN_SOURCE and POSTERN_PORT ("22/tcp").
void LogDenied(const AccessKey& knock, bool enforced);

// "enforce: 22, 3389, 5985, 5986 closed; 2 live grants, next end
// 2026-01-02T15:04:05+00:00"
std::string StatusLine(const std::vector<uint16_t>& ports, const Gatekeeper& gatekeeper);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_JOURNAL_H_
