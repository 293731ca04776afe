// The tables of policies.

#ifndef POSTERN_CONTROLLER_STORE_POLICIES_H_
#define POSTERN_CONTROLLER_STORE_POLICIES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/domain/policy.h"
#include "controller/store/database.h"

namespace postern::controller {

// Which rows of a table: empty fields match everything. Compared without case.
struct Where {
  std::string subscription = {};
  std::string resource_group = {};
  // Of policies alone.
  std::string location = {};
  // Policies that are for this VM, by its key.
  std::string vm_key = {};
  // VMs of this name.
  std::string vm_name = {};
};

absl::StatusOr<std::optional<Policy>> FindPolicy(SqlTransaction& transaction,
                                                 const std::string& policy_key);
// Inserts it, or replaces the one with its id.
absl::Status PutPolicy(SqlTransaction& transaction, const Policy& policy);
absl::Status DeletePolicy(SqlTransaction& transaction, const std::string& policy_key);
// In the order of their keys, after `after`.
absl::StatusOr<std::vector<Policy>> ListPolicies(SqlTransaction& transaction, const Where& where,
                                                 const std::string& after, size_t limit);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_POLICIES_H_
