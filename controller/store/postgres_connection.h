// A connection to PostgreSQL, as both of its users make it. Internal to the store.

#ifndef POSTERN_CONTROLLER_STORE_POSTGRES_CONNECTION_H_
#define POSTERN_CONTROLLER_STORE_POSTGRES_CONNECTION_H_

#include <libpq-fe.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace postern::controller {

struct FinishConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using PostgresConnection = std::unique_ptr<PGconn, FinishConnection>;

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PostgresResult = std::unique_ptr<PGresult, ClearResult>;

// Whether it could be made, PQstatus() says. Blocks for some seconds at most.
PostgresConnection ConnectToPostgres(const std::string& conninfo);

// UNAVAILABLE, with what the connection says of itself.
absl::Status ConnectionProblem(const PostgresConnection& connection);

// What hints are sent over.
inline constexpr char kHintChannel[] = "postern_hints";

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_POSTGRES_CONNECTION_H_
