// A connection to PostgreSQL, as both of its users make it. Internal to the store.

#ifndef POSTERN_CONTROLLER_STORE_POSTGRES_SESSION_H_
#define POSTERN_CONTROLLER_STORE_POSTGRES_SESSION_H_

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "controller/store/database.h"
#include "controller/store/postgres_limits.h"

namespace postern::controller {

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PostgresResult = std::unique_ptr<PGresult, ClearResult>;

// What another session has said.
struct PostgresNotice {
  int pid = 0;
  std::string text = {};
};

// Used by one thread at a time. All of its waits have an end.
class PostgresSession {
 public:
  // Whether it could be made, usable() says.
  PostgresSession(const std::string& conninfo, const PostgresLimits& limits);

  bool usable() const { return PQstatus(connection_.get()) == CONNECTION_OK; }
  // Usable, and outside of a transaction.
  bool at_rest() const;
  // The server's process for it, also once it has ended.
  int pid() const { return pid_; }
  int socket() const { return PQsocket(connection_.get()); }
  // Of the latest statement that failed; "" where the connection did.
  const std::string& sqlstate() const { return sqlstate_; }

  // UNAVAILABLE, with what the connection says of itself.
  absl::Status Problem() const;

  // Runs one statement. A server that gives no answer within `limit`, or else within
  // what a statement may take, is given up, and the session with it.
  absl::StatusOr<PostgresResult> Run(absl::string_view sql, absl::Span<const SqlValue> values,
                                     std::optional<absl::Duration> limit = std::nullopt);

  // Takes in what has come meanwhile; false once the connection is broken.
  bool TakeIn() { return PQconsumeInput(connection_.get()) != 0; }
  // The next of what was taken in, by this or by Run.
  std::optional<PostgresNotice> NextNotice();

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  using Connection = std::unique_ptr<PGconn, Finish>;

  static Connection Connect(const std::string& conninfo, const PostgresLimits& limits);
  absl::Status Configure(const PostgresLimits& limits);
  absl::StatusOr<PostgresResult> Answer(Deadline deadline);
  bool AwaitResult(Deadline deadline);
  bool AwaitSocket(short events, Deadline deadline);
  absl::Status GiveUp(absl::string_view why);

  Connection connection_;
  const int pid_;
  // For a statement that works.
  absl::Duration patience_;
  absl::Status problem_;
  std::string sqlstate_;
};

// What hints are sent over.
inline constexpr char kHintChannel[] = "postern_hints";

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_POSTGRES_SESSION_H_
