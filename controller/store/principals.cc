#include "controller/store/principals.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "controller/store/columns.h"

namespace postern::controller {
namespace {

// Lists are shown to a person as a whole.
constexpr char kListed[] = " LIMIT 10000";

absl::StatusOr<std::vector<RoleAssignment>> Roles(SqlTransaction& transaction,
                                                  absl::string_view where,
                                                  absl::Span<const SqlValue> values) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT principal, role, scope FROM roles ", where,
                                     " ORDER BY principal, role, scope_key", kListed),
                        values));
  std::vector<RoleAssignment> roles;
  for (const SqlRow& row : rows) {
    RoleAssignment assignment{.principal = row.Text(0)};
    POSTERN_ASSIGN_OR_RETURN(assignment.role, ParseRole(row.Text(1)));
    POSTERN_ASSIGN_OR_RETURN(assignment.scope, Scope::Parse(row.Text(2)));
    roles.push_back(std::move(assignment));
  }
  return roles;
}

absl::StatusOr<std::vector<AccessToken>> AccessTokens(SqlTransaction& transaction,
                                                      absl::string_view where,
                                                      absl::Span<const SqlValue> values) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT id, principal, secret_hash, created_us, expires_us, "
                                     "created_by, revoked FROM tokens ",
                                     where, " ORDER BY created_us DESC, id", kListed),
                        values));
  std::vector<AccessToken> tokens;
  for (const SqlRow& row : rows) {
    tokens.push_back({.id = row.Text(0),
                      .principal = row.Text(1),
                      .secret_hash = row.Text(2),
                      .created = TimeOf(row, 3),
                      .expires = TimeOf(row, 4),
                      .created_by = row.Text(5),
                      .revoked = row.Int(6) != 0});
  }
  return tokens;
}

absl::StatusOr<std::vector<JoinToken>> JoinTokens(SqlTransaction& transaction,
                                                  absl::string_view where,
                                                  absl::Span<const SqlValue> values) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT id, secret_hash, scope, location, uses_left, "
                                     "created_us, expires_us, created_by, revoked "
                                     "FROM join_tokens ",
                                     where, " ORDER BY created_us DESC, id", kListed),
                        values));
  std::vector<JoinToken> tokens;
  for (const SqlRow& row : rows) {
    JoinToken token{.id = row.Text(0),
                    .secret_hash = row.Text(1),
                    .location = row.Text(3),
                    .uses_left = row.Int(4),
                    .created = TimeOf(row, 5),
                    .expires = TimeOf(row, 6),
                    .created_by = row.Text(7),
                    .revoked = row.Int(8) != 0};
    POSTERN_ASSIGN_OR_RETURN(token.scope, Scope::Parse(row.Text(2)));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

template <typename T>
absl::StatusOr<std::optional<T>> FirstOf(absl::StatusOr<std::vector<T>> found) {
  if (!found.ok()) return found.status();
  if (found->empty()) return std::nullopt;
  return std::move(found->front());
}

}  // namespace

absl::StatusOr<std::vector<RoleAssignment>> RolesOf(SqlTransaction& transaction,
                                                    const std::string& principal) {
  return Roles(transaction, "WHERE principal = $1", {principal});
}

absl::StatusOr<std::vector<RoleAssignment>> AllRoles(SqlTransaction& transaction) {
  return Roles(transaction, "", {});
}

absl::Status PutRole(SqlTransaction& transaction, const RoleAssignment& assignment) {
  return transaction
      .Execute(
          "INSERT INTO roles (principal, role, scope, scope_key) VALUES ($1, $2, $3, $4) "
          "ON CONFLICT (principal, role, scope_key) DO NOTHING",
          {assignment.principal, std::string(RoleName(assignment.role)),
           assignment.scope.ToString(), assignment.scope.Key()})
      .status();
}

absl::StatusOr<bool> DeleteRole(SqlTransaction& transaction, const RoleAssignment& assignment) {
  POSTERN_ASSIGN_OR_RETURN(
      const int64_t changed,
      transaction.Execute(
          "DELETE FROM roles WHERE principal = $1 AND role = $2 AND scope_key = $3",
          {assignment.principal, std::string(RoleName(assignment.role)), assignment.scope.Key()}));
  return changed > 0;
}

absl::Status PutAccessToken(SqlTransaction& transaction, const AccessToken& token) {
  return transaction
      .Execute(
          "INSERT INTO tokens (id, principal, secret_hash, created_us, expires_us, "
          "created_by, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7)",
          {token.id, token.principal, token.secret_hash, TimeValue(token.created),
           TimeValue(token.expires), token.created_by, int64_t{token.revoked}})
      .status();
}

absl::StatusOr<std::optional<AccessToken>> FindAccessToken(SqlTransaction& transaction,
                                                           const std::string& secret_hash) {
  return FirstOf(AccessTokens(transaction, "WHERE secret_hash = $1", {secret_hash}));
}

absl::StatusOr<std::vector<AccessToken>> AllAccessTokens(SqlTransaction& transaction) {
  return AccessTokens(transaction, "", {});
}

absl::StatusOr<bool> RevokeAccessToken(SqlTransaction& transaction, const std::string& id) {
  POSTERN_ASSIGN_OR_RETURN(
      const int64_t changed,
      transaction.Execute("UPDATE tokens SET revoked = 1 WHERE id = $1", {id}));
  return changed > 0;
}

absl::Status PutJoinToken(SqlTransaction& transaction, const JoinToken& token) {
  return transaction
      .Execute(
          "INSERT INTO join_tokens (id, secret_hash, scope, location, uses_left, created_us, "
          "expires_us, created_by, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
          "ON CONFLICT (id) DO UPDATE SET uses_left = $5, revoked = $9",
          {token.id, token.secret_hash, token.scope.ToString(), token.location, token.uses_left,
           TimeValue(token.created), TimeValue(token.expires), token.created_by,
           int64_t{token.revoked}})
      .status();
}

absl::StatusOr<std::optional<JoinToken>> FindJoinToken(SqlTransaction& transaction,
                                                       const std::string& secret_hash) {
  return FirstOf(JoinTokens(transaction, "WHERE secret_hash = $1", {secret_hash}));
}

absl::StatusOr<std::optional<JoinToken>> FindJoinTokenById(SqlTransaction& transaction,
                                                           const std::string& id) {
  return FirstOf(JoinTokens(transaction, "WHERE id = $1", {id}));
}

absl::StatusOr<std::vector<JoinToken>> AllJoinTokens(SqlTransaction& transaction) {
  return JoinTokens(transaction, "", {});
}

absl::Status DeleteJoinTokensBefore(SqlTransaction& transaction, absl::Time time) {
  return transaction.Execute("DELETE FROM join_tokens WHERE expires_us < $1", {TimeValue(time)})
      .status();
}

}  // namespace postern::controller
