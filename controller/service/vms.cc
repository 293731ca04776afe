#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"
#include "controller/service/fleet_service.h"
#include "controller/store/controllers.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kShownHistory = absl::Hours(7 * 24);
constexpr size_t kVmPage = 500;

absl::Status NoVm(const VmId& id) {
  return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                    absl::StrCat(id.ToString(), " has not joined this controller"));
}

// An agent that is turned away hears of no withdrawal.
absl::Status CheckNothingOpen(SqlTransaction& transaction, const VmRow& vm, absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<PortRow> withdrawn,
                           WithdrawnPorts(transaction, vm.id.Key(), vm.applied_revision));
  absl::Time last = absl::InfinitePast();
  for (const PortRow& row : withdrawn) {
    if (!row.port.end_told && row.port.end) last = std::max(last, *row.port.end);
  }
  if (!vm.last_seen || last <= now) return absl::OkStatus();
  return CodedError(
      absl::StatusCode::kFailedPrecondition, "ResourceInUse",
      absl::StrCat(
          "the agent of ", vm.id.ToString(),
          " has not confirmed that what was opened is closed, which ends by itself at ",
          absl::FormatTime(absl::RFC3339_sec, last, absl::UTCTimeZone()),
          "; let it attach first, or remove the VM by force (force=true, posternctl vm remove "
          "--force) and leave that open"));
}

VmView VmViewOf(const VmRow& vm, const VmHistory& history,
                const std::set<std::string>& controllers) {
  VmView view{.id = vm.id,
              .location = vm.location,
              .attached = !vm.stream.empty() && controllers.contains(vm.controller),
              .last_seen = vm.last_seen,
              .agent_version = vm.agent_version,
              .clock_skew = vm.clock_skew};
  if (!vm.last_seen) {
    view.group = VmGroup::kUnsupported;
    view.reason = "its agent has never attached";
  } else if (!vm.enforces) {
    view.group = VmGroup::kUnsupported;
    view.reason = "its agent only observes; `posternctl arm` on the VM closes its ports";
  } else {
    view.group = history.in_policy ? VmGroup::kConfigured : VmGroup::kNotConfigured;
  }
  view.requests_of_seven_days = static_cast<int>(history.requests);
  view.last_access = history.last_access;
  view.last_user = history.last_user;
  return view;
}

}  // namespace

absl::StatusOr<std::vector<VmView>> AccessService::ViewsOf(SqlTransaction& transaction,
                                                           const std::vector<VmRow>& vms) const {
  std::vector<std::string> keys;
  for (const VmRow& vm : vms) keys.push_back(vm.id.Key());
  POSTERN_ASSIGN_OR_RETURN(const auto histories,
                           HistoriesOfVms(transaction, keys, clock_.Read().wall - kShownHistory));
  POSTERN_ASSIGN_OR_RETURN(
      const std::set<std::string> controllers,
      ControllersSince(transaction, clock_.Read().wall - FleetService::kControllerGone));
  std::vector<VmView> views;
  for (size_t i = 0; i < vms.size(); ++i) {
    const auto history = histories.find(keys[i]);
    views.push_back(
        VmViewOf(vms[i], history == histories.end() ? VmHistory{} : history->second, controllers));
  }
  return views;
}

absl::StatusOr<Page<VmView>> AccessService::ListVms(const Caller& caller, const Where& where,
                                                    const std::string& page) {
  Page<VmView> result;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                             RolesOf(transaction, caller.principal));
    POSTERN_ASSIGN_OR_RETURN(std::vector<VmRow> vms, ListVmRows(transaction, where, page, kVmPage));
    if (vms.size() == kVmPage) result.next = vms.back().id.Key();
    std::erase_if(vms, [&roles](const VmRow& vm) {
      return !Allowed(roles, Action::kReadVm, Scope::Of(vm.id));
    });
    POSTERN_ASSIGN_OR_RETURN(result.items, ViewsOf(transaction, vms));
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
    POSTERN_ASSIGN_OR_RETURN(std::vector<VmView> views, ViewsOf(transaction, {*vm}));
    view = std::move(views[0]);
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Look(caller, ActionName(Action::kReadVm), id.ToString(), body));
  return view;
}

absl::Status AccessService::RemoveVm(const Caller& caller, const VmId& id, bool force) {
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
        if (force) {
          change.detail["force"] = "true";
        } else {
          POSTERN_RETURN_IF_ERROR(CheckNothingOpen(transaction, *vm, change.now));
        }
        change.vms.insert(key);
        return DeleteVmRow(transaction, key);
      });
}

}  // namespace postern::controller
