// Each verb does its command and returns the exit code.

#ifndef POSTERN_CLI_VERBS_H_
#define POSTERN_CLI_VERBS_H_

#include "cli/command.h"
#include "cli/session.h"

namespace postern {

int Do(const StatusCommand& command, Session& session);
int Do(const GrantCommand& command, Session& session);
int Do(const GrantsCommand& command, Session& session);
int Do(const ExtendCommand& command, Session& session);
int Do(const MoveCommand& command, Session& session);
int Do(const RevokeCommand& command, Session& session);
int Do(const CheckCommand& command, Session& session);
int Do(const WatchCommand& command, Session& session);
int Do(const AuditCommand& command, Session& session);
int Do(const DoctorCommand& command, Session& session);
int Do(const DeniedCommand& command, Session& session);
int Do(const SelfCommand& command, Session& session);
int Do(const LockdownCommand& command, Session& session);
int Do(const ArmCommand& command, Session& session);
int Do(const ConfirmCommand& command, Session& session);
int Do(const DisarmCommand& command, Session& session);
int Do(const PkiInitCommand& command, Session& session);
int Do(const PkiIssueCommand& command, Session& session);
int Do(const ControllerCommand& command, Session& session);

// All grants of all pages, oldest first.
absl::StatusOr<std::vector<v1::Grant>> ListAllGrants(AgentClient& agent, bool include_ended);

}  // namespace postern

#endif  // POSTERN_CLI_VERBS_H_
