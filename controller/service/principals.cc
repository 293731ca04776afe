#include <openssl/rand.h>

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/duration.h"
#include "common/pki/digest.h"
#include "common/status.h"
#include "common/text.h"
#include "common/uuid.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kJoinTokenForgotten = absl::Hours(24 * 30);
constexpr size_t kMaxPrincipalBytes = 256;
constexpr size_t kMaxLocationBytes = 64;
constexpr int kMaxUses = 100'000;
constexpr absl::Duration kLongestJoinToken = absl::Hours(365 * 24);
constexpr absl::Duration kLongestAccessToken = absl::Hours(10 * 365 * 24);
constexpr absl::string_view kRolesOperation = "Microsoft.Authorization/roleAssignments/";

absl::Status Wrong(absl::string_view message, absl::string_view target) {
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidRequestContent", message, target);
}

// 256 random bits, with a prefix by which leaks are found.
absl::StatusOr<std::string> NewSecret(absl::string_view prefix) {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) {
    return absl::UnavailableError("there is no randomness for a token's secret");
  }
  return absl::StrCat(prefix, absl::WebSafeBase64Escape(absl::string_view(
                                  reinterpret_cast<const char*>(bytes.data()), bytes.size())));
}

absl::Status CheckPrincipal(const std::string& principal) {
  if (principal.empty() || principal.size() > kMaxPrincipalBytes ||
      Printable(principal) != principal) {
    return Wrong(absl::StrCat("a principal is 1 to ", kMaxPrincipalBytes,
                              " bytes without control characters"),
                 "principal");
  }
  if (principal == kController) {
    return Wrong(absl::StrCat("\"", kController, "\" is the controller itself"), "principal");
  }
  return absl::OkStatus();
}

absl::Status CheckLifetime(absl::Duration lifetime, absl::Duration longest) {
  if (lifetime <= absl::ZeroDuration() || lifetime > longest) {
    return Wrong(
        absl::StrCat("a token lives for more than nothing and at most ", DurationText(longest)),
        "lifetime");
  }
  return absl::OkStatus();
}

absl::Status CheckJoinToken(const Scope& scope, const std::string& location, int uses,
                            absl::Duration lifetime) {
  if (scope.resource_group.empty()) {
    return Wrong("a join token is for a resource group or for one virtual machine", "scope");
  }
  POSTERN_RETURN_IF_ERROR(CheckName("location", location, kMaxLocationBytes));
  if (uses < 1 || uses > kMaxUses) {
    return Wrong(absl::StrCat("a join token has 1 to ", kMaxUses, " uses"), "uses");
  }
  if (!scope.vm.empty() && uses != 1) {
    return Wrong("a join token for one virtual machine has one use", "uses");
  }
  return CheckLifetime(lifetime, kLongestJoinToken);
}

// A controller without an owner can be given none any more.
absl::Status CheckOwned(SqlTransaction& transaction) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles, AllRoles(transaction));
  const bool owned = std::any_of(roles.begin(), roles.end(), [](const RoleAssignment& one) {
    return one.role == BuiltInRole::kOwner && one.scope.Key() == Scope{}.Key();
  });
  if (owned) return absl::OkStatus();
  return CodedError(absl::StatusCode::kFailedPrecondition, "LastOwner",
                    "this is the last Owner of /; give that role to somebody else first");
}

}  // namespace

absl::StatusOr<NewJoinToken> AccessService::CreateJoinToken(const Caller& caller,
                                                            const Scope& scope,
                                                            const std::string& location, int uses,
                                                            absl::Duration lifetime) {
  NewJoinToken made;
  const auto body = [&](Change& change) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(Require(change.transaction, caller, Action::kManageVm, scope));
    POSTERN_RETURN_IF_ERROR(CheckJoinToken(scope, location, uses, lifetime));
    POSTERN_ASSIGN_OR_RETURN(made.secret, NewSecret("postern-join-"));
    made.token = {.id = NewUuid(),
                  .secret_hash = Sha256Hex(made.secret),
                  .scope = scope,
                  .location = location,
                  .uses_left = uses,
                  .created = change.now,
                  .expires = change.now + lifetime,
                  .created_by = caller.principal};
    change.detail["join_token"] = made.token.id;
    change.detail["uses"] = absl::StrCat(uses);
    POSTERN_RETURN_IF_ERROR(
        DeleteJoinTokensBefore(change.transaction, change.now - kJoinTokenForgotten));
    return PutJoinToken(change.transaction, made.token);
  };
  POSTERN_RETURN_IF_ERROR(Decide(caller, "Postern/joinTokens/write", scope.ToString(), body));
  return made;
}

absl::StatusOr<std::vector<JoinToken>> AccessService::ListJoinTokens(const Caller& caller) {
  std::vector<JoinToken> tokens;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                             RolesOf(transaction, caller.principal));
    POSTERN_ASSIGN_OR_RETURN(tokens, AllJoinTokens(transaction));
    std::erase_if(tokens, [&roles](const JoinToken& token) {
      return !Allowed(roles, Action::kManageVm, token.scope);
    });
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return tokens;
}

absl::Status AccessService::RevokeJoinToken(const Caller& caller, const std::string& id) {
  return Decide(caller, "Postern/joinTokens/delete", id, [&](Change& change) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(std::optional<JoinToken> token,
                             FindJoinTokenById(change.transaction, id));
    if (!token) {
      return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                        absl::StrCat("there is no join token ", id));
    }
    POSTERN_RETURN_IF_ERROR(Require(change.transaction, caller, Action::kManageVm, token->scope));
    token->revoked = true;
    return PutJoinToken(change.transaction, *token);
  });
}

absl::StatusOr<std::vector<std::string>> AccessService::ListSubscriptions(const Caller& caller) {
  std::set<std::string> subscriptions;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                             RolesOf(transaction, caller.principal));
    for (const RoleAssignment& role : roles) {
      if (!role.scope.subscription.empty()) {
        subscriptions.insert(role.scope.subscription);
        continue;
      }
      POSTERN_ASSIGN_OR_RETURN(const std::vector<std::string> all, Subscriptions(transaction));
      subscriptions.insert(all.begin(), all.end());
    }
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return std::vector<std::string>(subscriptions.begin(), subscriptions.end());
}

absl::StatusOr<std::vector<RoleAssignment>> AccessService::ListRoles(const Caller& caller) {
  std::vector<RoleAssignment> all;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> own,
                             RolesOf(transaction, caller.principal));
    POSTERN_ASSIGN_OR_RETURN(all, AllRoles(transaction));
    // One's own are nobody's secret.
    std::erase_if(all, [&](const RoleAssignment& assignment) {
      return assignment.principal != caller.principal &&
             !Allowed(own, Action::kManageRoles, assignment.scope);
    });
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return all;
}

absl::Status AccessService::AssignRole(const Caller& caller, const RoleAssignment& assignment) {
  return Decide(caller, absl::StrCat(kRolesOperation, "write"), assignment.scope.ToString(),
                [&](Change& change) -> absl::Status {
                  POSTERN_RETURN_IF_ERROR(
                      Require(change.transaction, caller, Action::kManageRoles, assignment.scope));
                  POSTERN_RETURN_IF_ERROR(CheckPrincipal(assignment.principal));
                  change.detail["principal"] = assignment.principal;
                  change.detail["role"] = std::string(RoleName(assignment.role));
                  return PutRole(change.transaction, assignment);
                });
}

absl::Status AccessService::RemoveRole(const Caller& caller, const RoleAssignment& assignment) {
  return Decide(caller, absl::StrCat(kRolesOperation, "delete"), assignment.scope.ToString(),
                [&](Change& change) -> absl::Status {
                  POSTERN_RETURN_IF_ERROR(
                      Require(change.transaction, caller, Action::kManageRoles, assignment.scope));
                  change.detail["principal"] = assignment.principal;
                  change.detail["role"] = std::string(RoleName(assignment.role));
                  POSTERN_ASSIGN_OR_RETURN(const bool existed,
                                           DeleteRole(change.transaction, assignment));
                  if (existed) return CheckOwned(change.transaction);
                  return CodedError(
                      absl::StatusCode::kNotFound, "RoleAssignmentNotFound",
                      absl::StrCat(Printable(assignment.principal), " is not ",
                                   RoleName(assignment.role), " on ", assignment.scope.ToString()));
                });
}

absl::StatusOr<NewAccessToken> AccessService::PutToken(Change& change, const std::string& principal,
                                                       absl::Duration lifetime,
                                                       const std::string& created_by) {
  POSTERN_RETURN_IF_ERROR(CheckPrincipal(principal));
  POSTERN_RETURN_IF_ERROR(CheckLifetime(lifetime, kLongestAccessToken));
  NewAccessToken made;
  POSTERN_ASSIGN_OR_RETURN(made.secret, NewSecret("postern-"));
  made.token = {.id = NewUuid(),
                .principal = principal,
                .secret_hash = Sha256Hex(made.secret),
                .created = change.now,
                .expires = change.now + lifetime,
                .created_by = created_by};
  change.detail["token"] = made.token.id;
  change.detail["principal"] = principal;
  POSTERN_RETURN_IF_ERROR(PutAccessToken(change.transaction, made.token));
  return made;
}

absl::StatusOr<NewAccessToken> AccessService::CreateAccessToken(const Caller& caller,
                                                                const std::string& principal,
                                                                absl::Duration lifetime) {
  NewAccessToken made;
  const auto body = [&](Change& change) -> absl::Status {
    // Whoever makes tokens can act as anybody.
    POSTERN_RETURN_IF_ERROR(Require(change.transaction, caller, Action::kManageRoles, Scope{}));
    POSTERN_ASSIGN_OR_RETURN(made, PutToken(change, principal, lifetime, caller.principal));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Decide(caller, "Postern/tokens/write", principal, body));
  return made;
}

absl::StatusOr<NewAccessToken> AccessService::CreateAccessTokenOnHost(const std::string& principal,
                                                                      absl::Duration lifetime) {
  NewAccessToken made;
  const Caller caller{.principal = kController, .correlation_id = NewUuid()};
  const auto body = [&](Change& change) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(made, PutToken(change, principal, lifetime, caller.principal));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Decide(caller, "Postern/tokens/write", principal, body));
  return made;
}

absl::StatusOr<std::vector<AccessToken>> AccessService::ListAccessTokens(const Caller& caller) {
  std::vector<AccessToken> tokens;
  const auto body = [&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kManageRoles, Scope{}));
    POSTERN_ASSIGN_OR_RETURN(tokens, AllAccessTokens(transaction));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Look(caller, "Postern/tokens/read", "", body));
  return tokens;
}

absl::Status AccessService::RevokeAccessToken(const Caller& caller, const std::string& id) {
  return Decide(caller, "Postern/tokens/delete", id, [&](Change& change) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(Require(change.transaction, caller, Action::kManageRoles, Scope{}));
    POSTERN_ASSIGN_OR_RETURN(const bool existed,
                             controller::RevokeAccessToken(change.transaction, id));
    if (existed) return absl::OkStatus();
    return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                      absl::StrCat("there is no token ", id));
  });
}

absl::StatusOr<std::optional<NewAccessToken>> AccessService::MakeFirstOwner(
    const std::string& principal) {
  std::optional<NewAccessToken> made;
  const Caller caller{.principal = kController, .correlation_id = NewUuid()};
  const auto body = [&](Change& change) -> absl::Status {
    made.reset();
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles, AllRoles(change.transaction));
    change.nothing_done = !roles.empty();
    if (!roles.empty()) return absl::OkStatus();
    POSTERN_ASSIGN_OR_RETURN(made,
                             PutToken(change, principal, kLongestAccessToken, caller.principal));
    return PutRole(change.transaction, {.principal = principal, .role = BuiltInRole::kOwner});
  };
  POSTERN_RETURN_IF_ERROR(Decide(caller, absl::StrCat(kRolesOperation, "write"), "/", body));
  return made;
}

}  // namespace postern::controller
