// Getting access: asking a controller for it, and waiting until the VM gives it.

#ifndef POSTERN_CLI_CONTROLLER_ACCESS_H_
#define POSTERN_CLI_CONTROLLER_ACCESS_H_

#include <functional>
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

// Which of a request's ports are meant.
using PortFilter = std::function<bool(const Json& port)>;
bool EveryPort(const Json& port);

// The request once none of the ports meant waits for the VM or for an approval: all
// of them are open, or some have ended. DEADLINE_EXCEEDED after `patience`.
absl::StatusOr<Json> AwaitAnswer(const ControllerClient& controller, const std::string& request,
                                 const PortFilter& meant, absl::Duration patience,
                                 Session& session);
// FAILED_PRECONDITION with the reason where a port that is meant is not open.
absl::Status CheckOpen(const Json& request, const PortFilter& meant);

// Has `access`, which names one port, whoever asked for it before: an own request
// that is live and covers it will do. Waits until it is open.
absl::Status EnsureAccess(const ControllerClient& controller, const Access& access,
                          Session& session);

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_ACCESS_H_
