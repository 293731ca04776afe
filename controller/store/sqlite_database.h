// The controller's store in one file, for one controller.

#ifndef POSTERN_CONTROLLER_STORE_SQLITE_DATABASE_H_
#define POSTERN_CONTROLLER_STORE_SQLITE_DATABASE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/store/database.h"

namespace postern::controller {

// Opens or creates the file, which only its owner may read, in WAL mode with
// synchronous=EXTRA: a transaction that gave OK survives a power loss. It has no
// tables until Migrate (schema.h) has made them.
absl::StatusOr<std::unique_ptr<Database>> OpenSqliteDatabase(const std::string& path);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_SQLITE_DATABASE_H_
