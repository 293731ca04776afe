// The controller's store in PostgreSQL, for several controllers.

#ifndef POSTERN_CONTROLLER_STORE_POSTGRES_DATABASE_H_
#define POSTERN_CONTROLLER_STORE_POSTGRES_DATABASE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/store/database.h"
#include "controller/store/postgres_limits.h"

namespace postern::controller {

// `conninfo` as libpq takes it: "host=... dbname=... user=..." or a URI. A
// password belongs into a file (passfile=, ~/.pgpass), not into it. The first
// connection is made here; one that breaks is made again when it is needed.
// UNAVAILABLE where the server cannot be reached.
absl::StatusOr<std::unique_ptr<Database>> OpenPostgresDatabase(const std::string& conninfo,
                                                               const PostgresLimits& limits = {});

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_POSTGRES_DATABASE_H_
