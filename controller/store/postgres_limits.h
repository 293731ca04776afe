// How long a PostgreSQL that does not answer is waited for.

#ifndef POSTERN_CONTROLLER_STORE_POSTGRES_LIMITS_H_
#define POSTERN_CONTROLLER_STORE_POSTGRES_LIMITS_H_

#include "absl/time/time.h"

namespace postern::controller {

// A server or its network may vanish without a word, and so may another controller
// while it has the lock of all writers: nobody waits for either without an end.
struct PostgresLimits {
  // For each address of the server. libpq knows whole seconds, two at least.
  absl::Duration connect = absl::Seconds(5);
  // For an answer that takes the server no work, and for a sign of life of its host.
  absl::Duration silence = absl::Seconds(10);
  // For a connection while all are taken, and for trying again.
  absl::Duration pool = absl::Seconds(10);
  // The server's own, where neither conninfo nor its role or database say otherwise:
  // for a lock, for a statement, and for the next one of a transaction.
  absl::Duration lock = absl::Seconds(10);
  absl::Duration statement = absl::Seconds(30);
  absl::Duration idle_in_transaction = absl::Seconds(15);
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_POSTGRES_LIMITS_H_
