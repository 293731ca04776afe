// What may be done about a request that stands.

#ifndef POSTERN_CONTROLLER_SERVICE_REQUEST_RULES_H_
#define POSTERN_CONTROLLER_SERVICE_REQUEST_RULES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/domain/policy.h"
#include "controller/domain/request.h"
#include "controller/service/authorization.h"
#include "controller/service/caller.h"
#include "controller/store/database.h"

namespace postern::controller {

bool IsOver(const RequestedPort& port);
bool IsOver(const Request& request);

// The same for calls that ask for the same, byte by byte.
std::string DigestOf(const PolicyId& policy, const Asked& asked);

// "*", or the prefixes.
std::string SourcesShown(const Sources& sources);

// Whether they may do `action` to every VM that `request` is about.
absl::Status RequireOnVms(SqlTransaction& transaction, const Caller& caller, Action action,
                          const Request& request);

// FAILED_PRECONDITION where it is over, or cannot be changed without asking anew:
// somebody has approved it as it is, or would have to approve it now.
absl::Status CheckChangeable(SqlTransaction& transaction, const Request& request);

// Whether the policy as it is now allows `port` from `sources` for `duration` in all.
absl::Status CheckAllowed(const Policy& policy, const RequestedPort& port, const Sources& sources,
                          absl::Duration duration);

// The policy that `request` was made by, as it is now; FAILED_PRECONDITION where it is
// gone.
absl::StatusOr<Policy> PolicyOf(SqlTransaction& transaction, const Request& request);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_REQUEST_RULES_H_
