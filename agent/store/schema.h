// The ledger's tables, and how older ones become the present ones.

#ifndef POSTERN_AGENT_STORE_SCHEMA_H_
#define POSTERN_AGENT_STORE_SCHEMA_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"

namespace postern {

// Which schema the database at `path` has; 0 in a new one. FAILED_PRECONDITION where
// a newer program has made it: data is never taken back to an older form.
absl::StatusOr<int64_t> SchemaVersion(SqliteDatabase& database, const std::string& path);

// Brings it from `version` to the present one, a version in a transaction.
absl::Status Migrate(SqliteDatabase& database, const std::string& path, int64_t version);

}  // namespace postern

#endif  // POSTERN_AGENT_STORE_SCHEMA_H_
