// The ledger's file in state_dir.

#ifndef POSTERN_AGENT_APP_LEDGER_FILE_H_
#define POSTERN_AGENT_APP_LEDGER_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/store/sqlite_store.h"

namespace postern {

struct OpenedLedger {
  std::unique_ptr<SqliteStore> store;
  // What was wrong with the file that stood there, and where it was set aside;
  // empty where it was sound. Told again until something is recorded: whoever set it
  // aside may not have come to that.
  std::string replaced;
};

// Opens the ledger in `state_dir`, and makes both where they are missing. A file
// that cannot be read as a ledger is kept under a name with the time `now`, and
// an empty one begun: the gate is closed then, which a daemon that cannot start
// would leave to others. Every other failure is an error, and touches nothing.
absl::StatusOr<OpenedLedger> OpenLedger(const std::string& state_dir, absl::Time now);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_LEDGER_FILE_H_
