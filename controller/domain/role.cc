#include "controller/domain/role.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/text.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

constexpr std::array kRoles = {BuiltInRole::kOwner, BuiltInRole::kSecurityAdmin,
                               BuiltInRole::kJitRequester, BuiltInRole::kSecurityReader,
                               BuiltInRole::kReader};

std::string Folded(absl::string_view name) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{" ", ""}, {"-", ""}});
}

bool SecurityAdminHolds(Action action) {
  return action == Action::kReadPolicy || action == Action::kWritePolicy ||
         action == Action::kDeletePolicy || action == Action::kEndOthers ||
         action == Action::kReadVm || action == Action::kManageVm || action == Action::kReadAudit;
}

}  // namespace

absl::string_view RoleName(BuiltInRole role) {
  switch (role) {
    case BuiltInRole::kOwner:
      return "Owner";
    case BuiltInRole::kSecurityAdmin:
      return "Security Admin";
    case BuiltInRole::kJitRequester:
      return "JIT Requester";
    case BuiltInRole::kSecurityReader:
      return "Security Reader";
    case BuiltInRole::kReader:
      return "Reader";
  }
  return "";
}

absl::StatusOr<BuiltInRole> ParseRole(absl::string_view name) {
  for (const BuiltInRole role : kRoles) {
    if (Folded(RoleName(role)) == Folded(name)) return role;
  }
  return CodedError(absl::StatusCode::kInvalidArgument, "RoleDefinitionDoesNotExist",
                    absl::StrCat("there is no role \"", Printable(name.substr(0, 64)),
                                 "\"; there are Owner, Security Admin, JIT Requester, Security "
                                 "Reader and Reader"));
}

absl::string_view ActionName(Action action) {
  switch (action) {
    case Action::kReadPolicy:
      return "Microsoft.Security/locations/jitNetworkAccessPolicies/read";
    case Action::kWritePolicy:
      return "Microsoft.Security/locations/jitNetworkAccessPolicies/write";
    case Action::kDeletePolicy:
      return "Microsoft.Security/locations/jitNetworkAccessPolicies/delete";
    case Action::kInitiate:
      return "Microsoft.Security/locations/jitNetworkAccessPolicies/initiate/action";
    case Action::kEndOthers:
      return "Postern/requests/end/action";
    case Action::kReadVm:
      return "Microsoft.Compute/virtualMachines/read";
    case Action::kManageVm:
      return "Microsoft.Compute/virtualMachines/write";
    case Action::kReadAudit:
      return "Microsoft.Insights/eventtypes/values/read";
    case Action::kManageRoles:
      return "Microsoft.Authorization/roleAssignments/write";
  }
  return "";
}

bool Holds(BuiltInRole role, Action action) {
  switch (role) {
    case BuiltInRole::kOwner:
      return true;
    case BuiltInRole::kSecurityAdmin:
      return SecurityAdminHolds(action);
    case BuiltInRole::kJitRequester:
      return action == Action::kInitiate || action == Action::kReadPolicy ||
             action == Action::kReadVm;
    case BuiltInRole::kSecurityReader:
      return action == Action::kReadPolicy || action == Action::kReadVm ||
             action == Action::kReadAudit;
    case BuiltInRole::kReader:
      return action == Action::kReadPolicy || action == Action::kReadVm;
  }
  return false;
}

bool Allowed(absl::Span<const RoleAssignment> assignments, Action action, const Scope& scope) {
  return std::any_of(assignments.begin(), assignments.end(), [&](const RoleAssignment& one) {
    return Holds(one.role, action) && one.scope.Contains(scope);
  });
}

}  // namespace postern::controller
