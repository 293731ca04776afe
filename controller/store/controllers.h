// The table of the controllers that share the store.

#ifndef POSTERN_CONTROLLER_STORE_CONTROLLERS_H_
#define POSTERN_CONTROLLER_STORE_CONTROLLERS_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/store/database.h"

namespace postern::controller {

// Records that the controller `id` is there at `now`.
absl::Status PutController(SqlTransaction& transaction, const std::string& id, absl::Time now);
// Those that were there at `since` or later.
absl::StatusOr<std::set<std::string>> ControllersSince(SqlTransaction& transaction,
                                                       absl::Time since);
// Forgets those that were not there since `before`.
absl::Status DeleteControllersBefore(SqlTransaction& transaction, absl::Time before);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_CONTROLLERS_H_
