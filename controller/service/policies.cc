#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/duration.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"
#include "controller/service/request_rules.h"

namespace postern::controller {
namespace {

constexpr char kDefaultPolicy[] = "default";
constexpr absl::Duration kShownHistory = absl::Hours(7 * 24);
// Of a policy, with the policy; the others are listed under /postern/v1/requests.
constexpr size_t kMostShownRequests = 1000;
constexpr size_t kPolicyPage = 100;

Scope GroupOf(const PolicyId& id) {
  return {.subscription = id.subscription, .resource_group = id.resource_group};
}

absl::Status NoPolicy(const PolicyId& id) {
  return CodedError(absl::StatusCode::kNotFound, "PolicyNotFound",
                    absl::StrCat("there is no policy ", id.ToString()));
}

bool IsOneOf(const Versions& versions, const std::optional<Policy>& policy) {
  if (!policy) return false;
  const std::vector<int64_t>& listed = versions.listed;
  return versions.any || std::find(listed.begin(), listed.end(), policy->version) != listed.end();
}

absl::Status CheckPrecondition(const Precondition& precondition,
                               const std::optional<Policy>& present) {
  const bool holds = (!precondition.match || IsOneOf(*precondition.match, present)) &&
                     (!precondition.none_match || !IsOneOf(*precondition.none_match, present));
  if (holds) return absl::OkStatus();
  return CodedError(absl::StatusCode::kAborted, "PreconditionFailed",
                    present ? "the policy is not as If-Match or If-None-Match wants it: somebody "
                              "else has changed it, or made it; read it again"
                            : "there is no policy here that If-Match could mean: somebody else "
                              "has deleted it");
}

enum class Readable : uint8_t { kNothing, kSome, kAll };

// What of the policy they may read; `policy` is left with those VMs.
absl::StatusOr<Readable> LeaveReadable(SqlTransaction& transaction, const Caller& caller,
                                       Policy& policy) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                           RolesOf(transaction, caller.principal));
  if (Allowed(roles, Action::kReadPolicy, GroupOf(policy.id))) return Readable::kAll;
  std::erase_if(policy.vms, [&roles](const PolicyVm& vm) {
    return !Allowed(roles, Action::kReadPolicy, Scope::Of(vm.id));
  });
  return policy.vms.empty() ? Readable::kNothing : Readable::kSome;
}

void LeaveReadable(const Policy& policy, std::vector<Request>& requests) {
  for (Request& request : requests) {
    std::erase_if(request.ports, [&policy](const RequestedPort& port) {
      return FindVm(policy, port.vm) == nullptr;
    });
  }
  std::erase_if(requests, [](const Request& request) { return request.ports.empty(); });
}

absl::Status NotJoined(const VmId& id, const std::string& target = "") {
  return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                    absl::StrCat(id.ToString(),
                                 " has not joined this controller; its agent does with a join "
                                 "token (POST /postern/v1/join-tokens)"),
                    target);
}

absl::Status CheckVmsJoined(SqlTransaction& transaction, const Policy& policy) {
  for (size_t i = 0; i < policy.vms.size(); ++i) {
    const VmId& id = policy.vms[i].id;
    POSTERN_ASSIGN_OR_RETURN(const std::optional<VmRow> vm, FindVmRow(transaction, id.Key()));
    if (vm) continue;
    return NotJoined(id, absl::StrCat("properties.virtualMachines[", i, "].id"));
  }
  return absl::OkStatus();
}

std::string VmNames(const Policy& policy) {
  return absl::StrJoin(policy.vms, ", ", [](std::string* out, const PolicyVm& vm) {
    absl::StrAppend(out, vm.id.name, " (",
                    absl::StrJoin(vm.ports, "; ",
                                  [](std::string* text, const PortRule& rule) {
                                    absl::StrAppend(text, rule.number, " from ",
                                                    SourcesShown(rule.allowed_sources), " for ",
                                                    DurationText(rule.max_duration));
                                  }),
                    ")");
  });
}

}  // namespace

absl::StatusOr<PolicyView> AccessService::ViewOf(SqlTransaction& transaction, Policy policy) const {
  PolicyView view;
  POSTERN_ASSIGN_OR_RETURN(
      view.requests, RequestsOfPolicy(transaction, policy.id.Key(),
                                      clock_.Read().wall - kShownHistory, kMostShownRequests));
  view.policy = std::move(policy);
  return view;
}

absl::StatusOr<PolicyView> AccessService::PutPolicy(const Caller& caller,
                                                    const PolicyChange& wanted) {
  PolicyView view;
  const auto body = [&](Change& change) -> absl::Status {
    SqlTransaction& transaction = change.transaction;
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kWritePolicy, GroupOf(wanted.id)));
    POSTERN_ASSIGN_OR_RETURN(const std::optional<Policy> present,
                             FindPolicy(transaction, wanted.id.Key()));
    POSTERN_RETURN_IF_ERROR(CheckPrecondition(wanted.precondition, present));
    Policy policy{.id = present ? present->id : wanted.id, .vms = wanted.vms};
    if (wanted.additions) {
      policy.additions = *wanted.additions;
    } else if (present) {
      policy.additions = present->additions;
    }
    POSTERN_ASSIGN_OR_RETURN(view, Store(change, std::move(policy)));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(
      Decide(caller, ActionName(Action::kWritePolicy), wanted.id.ToString(), body));
  return view;
}

absl::StatusOr<PolicyView> AccessService::Store(Change& change, Policy policy) {
  POSTERN_ASSIGN_OR_RETURN(policy.version, NextAuditNumber(change.transaction));
  POSTERN_RETURN_IF_ERROR(CheckPolicy(policy));
  POSTERN_RETURN_IF_ERROR(CheckVmsJoined(change.transaction, policy));
  POSTERN_RETURN_IF_ERROR(controller::PutPolicy(change.transaction, policy));
  POSTERN_RETURN_IF_ERROR(CloseWhatPolicyLost(change, policy));
  change.detail["virtual_machines"] = VmNames(policy);
  const PolicyAdditions& additions = policy.additions;
  change.detail["approvals"] =
      additions.approvals == 0 ? "none"
                               : absl::StrCat(additions.approvals, " by ", additions.approver_role);
  change.detail["justification"] = additions.justification_required ? "required" : "not required";
  return ViewOf(change.transaction, std::move(policy));
}

absl::StatusOr<PolicyView> AccessService::EnableVm(const Caller& caller, const VmId& vm) {
  PolicyView view;
  const auto body = [&](Change& change) -> absl::Status {
    SqlTransaction& transaction = change.transaction;
    PolicyId id{.subscription = vm.subscription, .resource_group = vm.resource_group};
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kWritePolicy, GroupOf(id)));
    POSTERN_ASSIGN_OR_RETURN(const std::optional<VmRow> row, FindVmRow(transaction, vm.Key()));
    if (!row) return NotJoined(vm);
    id.location = row->location;
    id.name = kDefaultPolicy;
    POSTERN_ASSIGN_OR_RETURN(std::optional<Policy> policy, FindPolicy(transaction, id.Key()));
    if (!policy) policy = Policy{.id = id};
    change.nothing_done = FindVm(*policy, vm) != nullptr;
    if (change.nothing_done) {
      POSTERN_ASSIGN_OR_RETURN(view, ViewOf(transaction, *std::move(policy)));
      return absl::OkStatus();
    }
    policy->vms.push_back({.id = row->id, .ports = RecommendedPorts()});
    change.detail["policy"] = policy->id.ToString();
    POSTERN_ASSIGN_OR_RETURN(view, Store(change, *std::move(policy)));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(
      Decide(caller, "Postern/virtualMachines/enable/action", vm.ToString(), body));
  return view;
}

absl::Status AccessService::CloseWhatPolicyLost(Change& change, const Policy& policy) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<PortRow> rows,
                           LivePortsOfPolicy(change.transaction, policy.id.Key()));
  for (PortRow& row : rows) {
    const PolicyVm* vm = FindVm(policy, row.port.vm);
    const bool stays =
        vm != nullptr && std::any_of(vm->ports.begin(), vm->ports.end(), [&](const PortRule& rule) {
          return rule.number == row.port.number;
        });
    if (stays) continue;
    POSTERN_RETURN_IF_ERROR(
        Close(change, row.port, EndReason::kPolicyDeleted,
              absl::StrCat("the policy ", policy.id.name, " does not allow the port any more")));
  }
  return absl::OkStatus();
}

absl::StatusOr<PolicyView> AccessService::GetPolicy(const Caller& caller, const PolicyId& id) {
  PolicyView view;
  const auto body = [&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(std::optional<Policy> policy, FindPolicy(transaction, id.Key()));
    if (!policy) {
      // Who may not read here learns nothing of what there is.
      POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kReadPolicy, GroupOf(id)));
      return NoPolicy(id);
    }
    POSTERN_ASSIGN_OR_RETURN(const Readable readable, LeaveReadable(transaction, caller, *policy));
    if (readable == Readable::kNothing) {
      return Require(transaction, caller, Action::kReadPolicy, GroupOf(id));
    }
    POSTERN_ASSIGN_OR_RETURN(view, ViewOf(transaction, *std::move(policy)));
    if (readable == Readable::kSome) LeaveReadable(view.policy, view.requests);
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Look(caller, ActionName(Action::kReadPolicy), id.ToString(), body));
  return view;
}

absl::StatusOr<Page<PolicyView>> AccessService::ListPolicies(const Caller& caller,
                                                             const Where& where,
                                                             const std::string& page) {
  Page<PolicyView> result;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(std::vector<Policy> policies,
                             controller::ListPolicies(transaction, where, page, kPolicyPage));
    if (policies.size() == kPolicyPage) result.next = policies.back().id.Key();
    size_t shown = 0;
    for (Policy& policy : policies) {
      if (shown >= kMostShownRequests) {
        // So many are enough for one answer; the others come with the next page.
        result.next = result.items.back().policy.id.Key();
        break;
      }
      POSTERN_ASSIGN_OR_RETURN(const Readable readable, LeaveReadable(transaction, caller, policy));
      if (readable == Readable::kNothing) continue;
      POSTERN_ASSIGN_OR_RETURN(PolicyView view, ViewOf(transaction, std::move(policy)));
      if (readable == Readable::kSome) LeaveReadable(view.policy, view.requests);
      shown += view.requests.size();
      result.items.push_back(std::move(view));
    }
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return result;
}

absl::StatusOr<bool> AccessService::DeletePolicy(const Caller& caller, const PolicyId& id,
                                                 const Precondition& precondition) {
  bool existed = false;
  const auto body = [&](Change& change) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(
        Require(change.transaction, caller, Action::kDeletePolicy, GroupOf(id)));
    POSTERN_ASSIGN_OR_RETURN(std::optional<Policy> policy,
                             FindPolicy(change.transaction, id.Key()));
    existed = policy.has_value();
    change.nothing_done = !existed;
    POSTERN_RETURN_IF_ERROR(CheckPrecondition(precondition, policy));
    if (!existed) return absl::OkStatus();
    policy->vms.clear();
    POSTERN_RETURN_IF_ERROR(CloseWhatPolicyLost(change, *policy));
    return controller::DeletePolicy(change.transaction, id.Key());
  };
  POSTERN_RETURN_IF_ERROR(Decide(caller, ActionName(Action::kDeletePolicy), id.ToString(), body));
  return existed;
}

}  // namespace postern::controller
