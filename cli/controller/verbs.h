// Each verb does its command, which a controller is asked for, and returns the exit
// code.

#ifndef POSTERN_CLI_CONTROLLER_VERBS_H_
#define POSTERN_CLI_CONTROLLER_VERBS_H_

#include <string>

#include "absl/status/statusor.h"
#include "cli/command.h"
#include "cli/controller/client.h"
#include "cli/controller/commands.h"
#include "cli/session.h"

namespace postern {

int Do(const PolicyListCommand& command, Session& session);
int Do(const PolicyShowCommand& command, Session& session);
int Do(const PolicyApplyCommand& command, Session& session);
int Do(const PolicyDeleteCommand& command, Session& session);
int Do(const PolicyEnableCommand& command, Session& session);
int Do(const RequestCreateCommand& command, Session& session);
int Do(const RequestListCommand& command, Session& session);
int Do(const RequestShowCommand& command, Session& session);
int Do(const RequestEndCommand& command, Session& session);
int Do(const RequestExtendCommand& command, Session& session);
int Do(const RequestMoveCommand& command, Session& session);
int Do(const RequestApproveCommand& command, Session& session);
int Do(const RequestDenyCommand& command, Session& session);
int Do(const VmListCommand& command, Session& session);
int Do(const VmShowCommand& command, Session& session);
int Do(const VmRemoveCommand& command, Session& session);
int Do(const JoinTokenCreateCommand& command, Session& session);
int Do(const JoinTokenListCommand& command, Session& session);
int Do(const JoinTokenRevokeCommand& command, Session& session);
int Do(const RoleListCommand& command, Session& session);
int Do(const RoleChangeCommand& command, Session& session);
int Do(const TokenCreateCommand& command, Session& session);
int Do(const TokenListCommand& command, Session& session);
int Do(const TokenRevokeCommand& command, Session& session);
int Do(const SshCommand& command, Session& session);
int Do(const SshProxyCommand& command, Session& session);

// The controller's audit, or whether it is whole.
int ShowFleetAudit(const AuditCommand& command, Session& session);

// The id of the VM that `name` means: an id, or a name that only one has.
absl::StatusOr<std::string> ResolveVm(const ControllerClient& controller, const std::string& name);

// Prints what could be had, and gives the exit code.
int ShowAnswer(const absl::StatusOr<Json>& answer,
               std::string (*describe)(const Json&, const Reader&), Session& session);
// The same of a list, as {"NAME": [...]}; `none` is said where a person reads an
// empty one.
int ShowList(const absl::StatusOr<Json>& list, const std::string& name, const std::string& none,
             std::string (*describe)(const Json&, const Reader&), Session& session);
// What was done has no answer: `words` tell of it.
int ShowDone(const absl::Status& status, const std::string& words, Session& session);

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_VERBS_H_
