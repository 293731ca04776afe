#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kShownHistory = absl::Hours(7 * 24);
constexpr size_t kVmPage = 500;

absl::Status NoVm(const VmId& id) {
  return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                    absl::StrCat(id.ToString(), " has not joined this controller"));
}

}  // namespace

absl::StatusOr<VmView> AccessService::ViewOf(SqlTransaction& transaction, const VmRow& vm) const {
  const std::string key = vm.id.Key();
  VmView view{.id = vm.id,
              .location = vm.location,
              .attached = !vm.stream.empty(),
              .last_seen = vm.last_seen,
              .agent_version = vm.agent_version,
              .clock_skew = vm.clock_skew};
  POSTERN_ASSIGN_OR_RETURN(const bool in_policy, IsInPolicy(transaction, key));
  if (!vm.last_seen) {
    view.group = VmGroup::kUnsupported;
    view.reason = "its agent has never attached";
  } else if (!vm.enforces) {
    view.group = VmGroup::kUnsupported;
    view.reason = "its agent only observes; `posternctl arm` on the VM closes its ports";
  } else {
    view.group = in_policy ? VmGroup::kConfigured : VmGroup::kNotConfigured;
  }
  POSTERN_ASSIGN_OR_RETURN(const VmHistory history,
                           HistoryOfVm(transaction, key, clock_.Read().wall - kShownHistory));
  view.requests_of_seven_days = static_cast<int>(history.requests);
  view.last_access = history.last_access;
  view.last_user = history.last_user;
  return view;
}

absl::StatusOr<Page<VmView>> AccessService::ListVms(const Caller& caller, const Where& where,
                                                    const std::string& page) {
  Page<VmView> result;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                             RolesOf(transaction, caller.principal));
    POSTERN_ASSIGN_OR_RETURN(const std::vector<VmRow> vms,
                             ListVmRows(transaction, where, page, kVmPage));
    if (vms.size() == kVmPage) result.next = vms.back().id.Key();
    for (const VmRow& vm : vms) {
      if (!Allowed(roles, Action::kReadVm, Scope::Of(vm.id))) continue;
      POSTERN_ASSIGN_OR_RETURN(VmView view, ViewOf(transaction, vm));
      result.items.push_back(std::move(view));
    }
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return result;
}

absl::StatusOr<VmView> AccessService::GetVm(const Caller& caller, const VmId& id) {
  VmView view;
  const auto body = [&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kReadVm, Scope::Of(id)));
    POSTERN_ASSIGN_OR_RETURN(const std::optional<VmRow> vm, FindVmRow(transaction, id.Key()));
    if (!vm) return NoVm(id);
    POSTERN_ASSIGN_OR_RETURN(view, ViewOf(transaction, *vm));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Look(caller, ActionName(Action::kReadVm), id.ToString(), body));
  return view;
}

absl::Status AccessService::RemoveVm(const Caller& caller, const VmId& id) {
  return Decide(
      caller, "Microsoft.Compute/virtualMachines/delete", id.ToString(),
      [&](Change& change) -> absl::Status {
        SqlTransaction& transaction = change.transaction;
        const std::string key = id.Key();
        POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kManageVm, Scope::Of(id)));
        POSTERN_ASSIGN_OR_RETURN(const std::optional<VmRow> vm, FindVmRow(transaction, key));
        if (!vm) return NoVm(id);
        POSTERN_ASSIGN_OR_RETURN(const bool in_policy, IsInPolicy(transaction, key));
        if (in_policy) {
          return CodedError(
              absl::StatusCode::kFailedPrecondition, "ResourceInUse",
              absl::StrCat(id.ToString(), " is in a policy; take it out of it first"));
        }
        POSTERN_ASSIGN_OR_RETURN(std::vector<PortRow> live, LivePortsOfVm(transaction, key));
        for (PortRow& row : live) {
          POSTERN_RETURN_IF_ERROR(
              Close(change, row.port, EndReason::kPolicyDeleted, "the VM was removed"));
        }
        change.vms.insert(key);
        return DeleteVmRow(transaction, key);
      });
}

}  // namespace postern::controller
