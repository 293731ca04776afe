// Who may do what: Azure's built-in roles and the actions they hold.

#ifndef POSTERN_CONTROLLER_DOMAIN_ROLE_H_
#define POSTERN_CONTROLLER_DOMAIN_ROLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "controller/domain/resource_id.h"

namespace postern::controller {

enum class BuiltInRole : uint8_t {
  kOwner,
  kSecurityAdmin,
  kJitRequester,
  kSecurityReader,
  kReader
};

enum class Action : uint8_t {
  kReadPolicy,
  kWritePolicy,
  kDeletePolicy,
  // Ask for access, end and extend one's own.
  kInitiate,
  // End or extend other people's requests.
  kEndOthers,
  kReadVm,
  // Join tokens, removing VMs.
  kManageVm,
  kReadAudit,
  // Roles and tokens.
  kManageRoles,
};

struct RoleAssignment {
  // Who, as identity/ names them: "user:ana", "sub@issuer".
  std::string principal = {};
  BuiltInRole role = BuiltInRole::kReader;
  Scope scope = {};
};

// "Owner", "Security Admin", "JIT Requester", "Security Reader", "Reader".
absl::string_view RoleName(BuiltInRole role);
// Without case; spaces and dashes are the same.
absl::StatusOr<BuiltInRole> ParseRole(absl::string_view name);

// As Azure writes it: "Microsoft.Security/locations/jitNetworkAccessPolicies/write".
absl::string_view ActionName(Action action);

// Whether `role` holds `action`.
bool Holds(BuiltInRole role, Action action);

// Whether one of `assignments`, all of one principal, allows `action` on `scope`.
bool Allowed(absl::Span<const RoleAssignment> assignments, Action action, const Scope& scope);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_DOMAIN_ROLE_H_
