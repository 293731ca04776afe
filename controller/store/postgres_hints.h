// Hears what other controllers on the same PostgreSQL say (LISTEN, NOTIFY).

#ifndef POSTERN_CONTROLLER_STORE_POSTGRES_HINTS_H_
#define POSTERN_CONTROLLER_STORE_POSTGRES_HINTS_H_

#include <functional>
#include <memory>
#include <string>

#include "controller/store/database.h"
#include "controller/store/postgres_limits.h"

namespace postern::controller {

// As Database::Listen. `is_own` tells of a server process (its PID there) whether it
// serves this controller, whose own hints are not for it. Both are called by the
// listener's thread.
std::unique_ptr<HintListener> ListenToPostgres(const std::string& conninfo,
                                               const PostgresLimits& limits,
                                               std::function<bool(int)> is_own,
                                               std::function<void(const std::string&)> take);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_POSTGRES_HINTS_H_
