// The agent's lines in the journal. All have the fields MESSAGE_ID and
// POSTERN_EVENT (journal_kinds.h); those about a grant also POSTERN_GRANT_ID,
// POSTERN_REQUESTOR where it is known, and POSTERN_SOURCE ("203.0.113.7/32") and
// POSTERN_PORT ("22/tcp") as often as the grant has sources and ports; those of
// the audit also POSTERN_ACTOR and POSTERN_NUMBER.

#ifndef POSTERN_AGENT_APP_JOURNAL_H_
#define POSTERN_AGENT_APP_JOURNAL_H_

#include <string>

#include "agent/app/journal_kinds.h"
#include "agent/firewall/ruleset.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"
#include "common/systemd/log.h"

namespace postern {

LogLine LineOf(const JournalKind& kind, std::string message);
LogLine LineOf(const AuditEvent& event);

// A source that the gate refused and did not remember, or (where it does not
// enforce) would have refused; with POSTERN_SOURCE and POSTERN_PORT.
LogLine DeniedLine(const AccessKey& knock, bool enforced);

// A session that stays, and could not be opened again; with the same fields.
LogLine UncoveredLine(const Flow& session);

// Logs `event`, except those that the agent tells of in fuller lines: its start,
// its end and a reload.
void LogEvent(const AuditEvent& event);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_JOURNAL_H_
