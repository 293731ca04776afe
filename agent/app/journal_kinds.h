// The kinds of lines that have a stable MESSAGE_ID, and so an entry in the
// journal's catalog (systemd/postern.catalog).

#ifndef POSTERN_AGENT_APP_JOURNAL_KINDS_H_
#define POSTERN_AGENT_APP_JOURNAL_KINDS_H_

#include "agent/grants/audit.h"
#include "common/systemd/log.h"

namespace postern {

struct JournalKind {
  // POSTERN_EVENT. Of an event of the audit: its name in agent.proto.
  const char* event;
  // Never given to another kind, nor changed: people filter by it.
  const char* message_id;
  Priority priority;
};

JournalKind KindOf(AuditKind kind);

// What the audit does not hold.
inline constexpr JournalKind kAccessDenied = {"ACCESS_DENIED", "98861b05a54746489dcdd2af272cbd33",
                                              Priority::kNotice};
inline constexpr JournalKind kGateMade = {"GATE_MADE", "888c7f2835634589b8f6f00fee545376",
                                          Priority::kNotice};
inline constexpr JournalKind kSessionUncovered = {
    "SESSION_UNCOVERED", "c6e053b29d1e4cb6820552cb58ae1fbb", Priority::kWarning};
inline constexpr JournalKind kReloadRefused = {"RELOAD_REFUSED", "d62ca7c9b49049219a79b41025245bc8",
                                               Priority::kError};
inline constexpr JournalKind kAgentFailed = {"AGENT_FAILED", "714b1f50c9ad4659b0e0b9609de791d5",
                                             Priority::kError};

}  // namespace postern

#endif  // POSTERN_AGENT_APP_JOURNAL_KINDS_H_
