// The tables, and how older ones become the present ones.

#ifndef POSTERN_CONTROLLER_STORE_SCHEMA_H_
#define POSTERN_CONTROLLER_STORE_SCHEMA_H_

#include <cstdint>

#include "absl/status/status.h"
#include "controller/store/database.h"

namespace postern::controller {

inline constexpr int64_t kSchemaVersion = 5;

// Brings the tables to kSchemaVersion, or to `target` in tests, in one
// transaction; several controllers may do so at once. FAILED_PRECONDITION where
// a newer release has made them: data is never taken back to an older form.
absl::Status Migrate(Database& database, int64_t target = kSchemaVersion);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_SCHEMA_H_
