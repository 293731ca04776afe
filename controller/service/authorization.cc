#include "controller/service/authorization.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"
#include "controller/store/principals.h"

namespace postern::controller {

absl::StatusOr<bool> May(SqlTransaction& transaction, const Caller& caller, Action action,
                         const Scope& scope) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                           RolesOf(transaction, caller.principal));
  return Allowed(roles, action, scope);
}

absl::Status Require(SqlTransaction& transaction, const Caller& caller, Action action,
                     const Scope& scope) {
  POSTERN_ASSIGN_OR_RETURN(const bool may, May(transaction, caller, action, scope));
  if (may) return absl::OkStatus();
  return CodedError(absl::StatusCode::kPermissionDenied, "AuthorizationFailed",
                    absl::StrCat("The client '", Printable(caller.principal),
                                 "' does not have authorization to perform action '",
                                 ActionName(action), "' over scope '", scope.ToString(), "'."));
}

}  // namespace postern::controller
