#include "controller/store/policies.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "common/status.h"
#include "controller/store/columns.h"

namespace postern::controller {
namespace {

// Of a row of subscription, resource_group, location, name, version, body.
absl::StatusOr<Policy> PolicyOf(const SqlRow& row) {
  Policy policy{.id = {.subscription = row.Text(0),
                       .resource_group = row.Text(1),
                       .location = row.Text(2),
                       .name = row.Text(3)},
                .version = row.Int(4)};
  POSTERN_RETURN_IF_ERROR(ReadPolicyBody(row.Text(5), policy));
  return policy;
}

}  // namespace

absl::StatusOr<std::optional<Policy>> FindPolicy(SqlTransaction& transaction,
                                                 const std::string& policy_key) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT subscription, resource_group, location, name, version, body "
                        "FROM policies WHERE policy_key = $1",
                        {policy_key}));
  if (rows.empty()) return std::nullopt;
  POSTERN_ASSIGN_OR_RETURN(Policy policy, PolicyOf(rows[0]));
  return policy;
}

absl::Status PutPolicy(SqlTransaction& transaction, const Policy& policy) {
  const std::string key = policy.id.Key();
  POSTERN_RETURN_IF_ERROR(
      transaction
          .Execute("INSERT INTO policies (policy_key, subscription, resource_group, group_key, "
                   "location, location_key, name, body, version) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
                   "ON CONFLICT (policy_key) DO UPDATE SET body = $8, version = $9",
                   {key, policy.id.subscription, policy.id.resource_group,
                    absl::AsciiStrToLower(policy.id.resource_group), policy.id.location,
                    absl::AsciiStrToLower(policy.id.location), policy.id.name, PolicyBody(policy),
                    policy.version})
          .status());
  POSTERN_RETURN_IF_ERROR(
      transaction.Execute("DELETE FROM policy_vms WHERE policy_key = $1", {key}).status());
  for (const PolicyVm& vm : policy.vms) {
    POSTERN_RETURN_IF_ERROR(transaction
                                .Execute("INSERT INTO policy_vms (policy_key, vm_key) "
                                         "VALUES ($1, $2)",
                                         {key, vm.id.Key()})
                                .status());
  }
  return absl::OkStatus();
}

absl::Status DeletePolicy(SqlTransaction& transaction, const std::string& policy_key) {
  POSTERN_RETURN_IF_ERROR(
      transaction.Execute("DELETE FROM policy_vms WHERE policy_key = $1", {policy_key}).status());
  return transaction.Execute("DELETE FROM policies WHERE policy_key = $1", {policy_key}).status();
}

absl::StatusOr<std::vector<Policy>> ListPolicies(SqlTransaction& transaction, const Where& where,
                                                 const std::string& after, size_t limit) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(
          "SELECT subscription, resource_group, location, name, version, body FROM policies "
          "WHERE policy_key > $1 AND ($2 = '' OR subscription = $2) "
          "AND ($3 = '' OR group_key = $3) AND ($4 = '' OR location_key = $4) "
          "AND ($5 = '' OR policy_key IN (SELECT policy_key FROM policy_vms WHERE vm_key = $5)) "
          "ORDER BY policy_key LIMIT $6",
          {after, absl::AsciiStrToLower(where.subscription),
           absl::AsciiStrToLower(where.resource_group), absl::AsciiStrToLower(where.location),
           where.vm_key, static_cast<int64_t>(limit)}));
  std::vector<Policy> policies;
  for (const SqlRow& row : rows) {
    POSTERN_ASSIGN_OR_RETURN(Policy policy, PolicyOf(row));
    policies.push_back(std::move(policy));
  }
  return policies;
}

}  // namespace postern::controller
