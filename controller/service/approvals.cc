#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"
#include "controller/service/request_rules.h"

namespace postern::controller {
namespace {

bool Waits(const Request& request) {
  return std::any_of(request.ports.begin(), request.ports.end(),
                     [](const RequestedPort& port) { return port.status == PortStatus::kPending; });
}

absl::Status CheckWaits(const Request& request) {
  if (Waits(request)) return absl::OkStatus();
  return CodedError(absl::StatusCode::kFailedPrecondition, "NotPending",
                    absl::StrCat("the request ", request.id, " does not wait for approval"));
}

// What was asked for still has to be what the policy allows, and by as many as it wants.
absl::Status CheckStands(SqlTransaction& transaction, const Request& request) {
  POSTERN_ASSIGN_OR_RETURN(const Policy policy, PolicyOf(transaction, request));
  const PolicyAdditions& wants = policy.additions;
  if (wants.approvals > request.approvals_needed ||
      (wants.approvals > 0 && wants.approver_role != request.approver_role)) {
    return CodedError(
        absl::StatusCode::kFailedPrecondition, "PolicyChanged",
        absl::StrCat("the policy wants ", wants.approvals, " approvals by a ", wants.approver_role,
                     " by now; deny the request ", request.id, ", so that it is asked for again"));
  }
  absl::Status allowed = CheckJustification(policy, request.justification);
  for (const RequestedPort& port : request.ports) {
    if (IsOver(port)) continue;
    allowed.Update(CheckAllowed(policy, port, port.sources, port.duration));
  }
  if (allowed.ok()) return absl::OkStatus();
  return CodedError(
      absl::StatusCode::kFailedPrecondition, "PolicyChanged",
      absl::StrCat("the policy has changed since: ", allowed.message(), "; deny the request ",
                   request.id, ", so that it is asked for again"));
}

// Somebody who lost the role that let them ask gets nothing by what they asked for then.
absl::Status CheckRequestor(SqlTransaction& transaction, const Request& request) {
  const absl::Status may =
      RequireOnVms(transaction, {.principal = request.requestor}, Action::kInitiate, request);
  if (!absl::IsPermissionDenied(may)) return may;
  return CodedError(
      absl::StatusCode::kFailedPrecondition, "RequestorChanged",
      absl::StrCat("'", request.requestor, "' may not ask for this any more: ", may.message(),
                   " Deny the request ", request.id, ", or give them the role again"));
}

absl::Status NotAnApprover(const Caller& caller, absl::string_view why) {
  return CodedError(absl::StatusCode::kPermissionDenied, "NotAnApprover",
                    absl::StrCat("'", caller.principal, "' cannot answer this request: ", why));
}

// The role that the policy names, on every VM of the request; and never oneself.
absl::Status RequireApprover(SqlTransaction& transaction, const Caller& caller,
                             const Request& request) {
  POSTERN_ASSIGN_OR_RETURN(const BuiltInRole role, ParseRole(request.approver_role));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                           RolesOf(transaction, caller.principal));
  for (const RequestedPort& port : request.ports) {
    const bool may = std::any_of(roles.begin(), roles.end(), [&](const RoleAssignment& one) {
      return one.role == role && one.scope.Contains(Scope::Of(port.vm));
    });
    if (!may) {
      return NotAnApprover(
          caller, absl::StrCat("the policy wants a ", RoleName(role), " on ", port.vm.ToString()));
    }
  }
  if (request.requestor == caller.principal) return NotAnApprover(caller, "it is their own");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Request> AccessService::ApproveRequest(const Caller& caller, const std::string& id) {
  return ChangeRequest(
      caller, "Postern/requests/approve/action", id,
      [&](Change& change, Request& request) -> absl::Status {
        POSTERN_RETURN_IF_ERROR(RequireApprover(change.transaction, caller, request));
        std::vector<std::string>& approved = request.approved_by;
        if (std::find(approved.begin(), approved.end(), caller.principal) != approved.end()) {
          change.nothing_done = true;
          return absl::OkStatus();
        }
        POSTERN_RETURN_IF_ERROR(CheckWaits(request));
        POSTERN_RETURN_IF_ERROR(CheckStands(change.transaction, request));
        POSTERN_RETURN_IF_ERROR(CheckRequestor(change.transaction, request));
        approved.push_back(caller.principal);
        const bool enough = approved.size() >= static_cast<size_t>(request.approvals_needed);
        POSTERN_RETURN_IF_ERROR(
            UpdateApprovals(change.transaction, request,
                            enough ? std::nullopt : std::optional(request.start + kApprovalWait)));
        change.detail["approvals"] =
            absl::StrCat(approved.size(), " of ", request.approvals_needed);
        if (!enough) return absl::OkStatus();
        return Begin(change, request, /*is_new=*/false);
      });
}

absl::StatusOr<Request> AccessService::DenyRequest(const Caller& caller, const std::string& id,
                                                   const std::string& reason) {
  return ChangeRequest(
      caller, "Postern/requests/deny/action", id,
      [&](Change& change, Request& request) -> absl::Status {
        POSTERN_RETURN_IF_ERROR(RequireApprover(change.transaction, caller, request));
        POSTERN_RETURN_IF_ERROR(CheckWaits(request));
        POSTERN_RETURN_IF_ERROR(CheckReason(reason));
        change.detail["reason"] = reason;
        for (RequestedPort& port : request.ports) {
          POSTERN_RETURN_IF_ERROR(Close(change, port, EndReason::kDenied, reason));
        }
        return UpdateApprovals(change.transaction, request, std::nullopt);
      });
}

}  // namespace postern::controller
