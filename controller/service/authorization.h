// Whether a caller may.

#ifndef POSTERN_CONTROLLER_SERVICE_AUTHORIZATION_H_
#define POSTERN_CONTROLLER_SERVICE_AUTHORIZATION_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/domain/role.h"
#include "controller/service/caller.h"
#include "controller/store/database.h"

namespace postern::controller {

absl::StatusOr<bool> May(SqlTransaction& transaction, const Caller& caller, Action action,
                         const Scope& scope);

// PERMISSION_DENIED, AuthorizationFailed, in Azure's words, where they may not.
absl::Status Require(SqlTransaction& transaction, const Caller& caller, Action action,
                     const Scope& scope);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_AUTHORIZATION_H_
