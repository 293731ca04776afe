// The table of virtual machines: those that have joined.

#ifndef POSTERN_CONTROLLER_STORE_VMS_H_
#define POSTERN_CONTROLLER_STORE_VMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/domain/resource_id.h"
#include "controller/store/database.h"
#include "controller/store/policies.h"

namespace postern::controller {

struct VmRow {
  VmId id = {};
  std::string location = {};
  absl::Time enrolled = {};
  // The id of the join token that it joined with.
  std::string join_token = {};
  std::string certificate_serial = {};
  // Of the certificate before, until the newest is used; empty after that.
  std::string previous_serial = {};
  absl::Time certificate_expires = {};
  // The attached stream; empty when there is none.
  std::string stream = {};
  // The controller that holds the stream; empty with it.
  std::string controller = {};
  // Since it joined.
  std::optional<absl::Time> attached = {};
  std::optional<absl::Time> last_seen = {};
  std::string agent_version = {};
  std::string hostname = {};
  bool enforces = false;
  absl::Duration clock_skew = {};
  // The revision of the VM's wanted grants, and the one that its agent has.
  int64_t wanted_revision = 0;
  int64_t applied_revision = 0;
};

absl::StatusOr<std::optional<VmRow>> FindVmRow(SqlTransaction& transaction,
                                               const std::string& vm_key);
// Inserts it, or replaces the one with its id.
absl::Status PutVmRow(SqlTransaction& transaction, const VmRow& vm);
absl::Status DeleteVmRow(SqlTransaction& transaction, const std::string& vm_key);
// In the order of their keys, after `after`.
absl::StatusOr<std::vector<VmRow>> ListVmRows(SqlTransaction& transaction, const Where& where,
                                              const std::string& after, size_t limit);
// The wanted revisions of all VMs that have joined, by their keys.
absl::StatusOr<std::map<std::string, int64_t>> WantedRevisions(SqlTransaction& transaction);
// All that VMs and policies are in, each once, in order.
absl::StatusOr<std::vector<std::string>> Subscriptions(SqlTransaction& transaction);
// Whether a policy names it.
absl::StatusOr<bool> IsInPolicy(SqlTransaction& transaction, const std::string& vm_key);

// Counts up the VM's wanted revision and gives the new one; 0 where the VM is
// not known any more.
absl::StatusOr<int64_t> NextRevision(SqlTransaction& transaction, const std::string& vm_key);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_VMS_H_
