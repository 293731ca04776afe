// How the agent speaks of itself: journal lines for events, and the status line.

#ifndef POSTERN_AGENT_APP_JOURNAL_H_
#define POSTERN_AGENT_APP_JOURNAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/audit.h"

namespace postern {

// One line, with the fields POSTERN_EVENT, POSTERN_GRANT, POSTERN_ACTOR,
// POSTERN_REQUESTOR and POSTERN_NUMBER.
void LogEvent(const AuditEvent& event);

// "enforce: 22, 3389, 5985, 5986 closed; 2 live grants, next end
// 2026-01-02T15:04:05+00:00"
std::string StatusLine(const std::vector<uint16_t>& ports, const Gatekeeper& gatekeeper);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_JOURNAL_H_
