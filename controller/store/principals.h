// The tables of who may do what: role assignments, access tokens, join tokens.
// Of a token only the SHA-256 of its secret is kept.

#ifndef POSTERN_CONTROLLER_STORE_PRINCIPALS_H_
#define POSTERN_CONTROLLER_STORE_PRINCIPALS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/domain/role.h"
#include "controller/store/database.h"

namespace postern::controller {

absl::StatusOr<std::vector<RoleAssignment>> RolesOf(SqlTransaction& transaction,
                                                    const std::string& principal);
absl::StatusOr<std::vector<RoleAssignment>> AllRoles(SqlTransaction& transaction);
absl::Status PutRole(SqlTransaction& transaction, const RoleAssignment& assignment);
// False when there was none.
absl::StatusOr<bool> DeleteRole(SqlTransaction& transaction, const RoleAssignment& assignment);

// A bearer token of a small set-up.
struct AccessToken {
  std::string id = {};
  std::string principal = {};
  std::string secret_hash = {};
  absl::Time created = {};
  absl::Time expires = {};
  std::string created_by = {};
  bool revoked = false;
};
absl::Status PutAccessToken(SqlTransaction& transaction, const AccessToken& token);
absl::StatusOr<std::optional<AccessToken>> FindAccessToken(SqlTransaction& transaction,
                                                           const std::string& secret_hash);
// The newest first, 10,000 at most.
absl::StatusOr<std::vector<AccessToken>> AllAccessTokens(SqlTransaction& transaction);
absl::StatusOr<bool> RevokeAccessToken(SqlTransaction& transaction, const std::string& id);

// Lets VMs join.
struct JoinToken {
  std::string id = {};
  std::string secret_hash = {};
  // Where VMs may join: a resource group, or the one VM it is for.
  Scope scope = {};
  std::string location = {};
  int64_t uses_left = 1;
  absl::Time created = {};
  absl::Time expires = {};
  std::string created_by = {};
  bool revoked = false;
};
// Inserts it, or replaces the one with its id.
absl::Status PutJoinToken(SqlTransaction& transaction, const JoinToken& token);
absl::StatusOr<std::optional<JoinToken>> FindJoinToken(SqlTransaction& transaction,
                                                       const std::string& secret_hash);
absl::StatusOr<std::optional<JoinToken>> FindJoinTokenById(SqlTransaction& transaction,
                                                           const std::string& id);
// The newest first, 10,000 at most.
absl::StatusOr<std::vector<JoinToken>> AllJoinTokens(SqlTransaction& transaction);
// Forgets those that were over before `time`.
absl::Status DeleteJoinTokensBefore(SqlTransaction& transaction, absl::Time time);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_PRINCIPALS_H_
