// Getting access: asking a controller for it, and waiting until the VM gives it.

#ifndef POSTERN_CLI_CONTROLLER_ACCESS_H_
#define POSTERN_CLI_CONTROLLER_ACCESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/controller/client.h"
#include "cli/controller/commands.h"
#include "cli/session.h"

namespace postern {

// The id of a new request. FAILED_PRECONDITION where no policy, or more than one,
// allows the ports of the VM.
absl::StatusOr<std::string> AskForAccess(const ControllerClient& controller, const Access& access);

// The request once no port of it waits for the VM or for an approval: all of them
// are open, or some have ended. DEADLINE_EXCEEDED after `patience`.
absl::StatusOr<Json> AwaitAnswer(const ControllerClient& controller, const std::string& request,
                                 absl::Duration patience, Session& session);
// FAILED_PRECONDITION with the reason where a port of it is not open.
absl::Status CheckOpen(const Json& request);

// Has `access`, which names one port, whoever asked for it before: an own request
// that is live and covers it will do. Waits until it is open.
absl::Status EnsureAccess(const ControllerClient& controller, const Access& access,
                          Session& session);

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_ACCESS_H_
