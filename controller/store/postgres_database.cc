#include "controller/store/postgres_database.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/store/postgres_hints.h"
#include "controller/store/postgres_session.h"

namespace postern::controller {
namespace {

constexpr size_t kConnections = 4;
// PostgreSQL's types of whole numbers (pg_type.dat).
constexpr std::array<Oid, 3> kIntegerTypes = {20, 21, 23};
// Writers wait for each other with this lock: one transaction decides at a time,
// whichever controller it is of. Any number does, as long as it is always the same.
constexpr char kWriteLock[] = "SELECT pg_advisory_xact_lock(7069632)";
constexpr char kBeginWrite[] = "BEGIN ISOLATION LEVEL READ COMMITTED";
constexpr int kMostTries = 5;

SqlValue ValueOf(const PGresult* result, int row, int column) {
  if (PQgetisnull(result, row, column) != 0) return std::monostate();
  const absl::string_view text(PQgetvalue(result, row, column),
                               static_cast<size_t>(PQgetlength(result, row, column)));
  const Oid type = PQftype(result, column);
  int64_t number = 0;
  if (std::find(kIntegerTypes.begin(), kIntegerTypes.end(), type) != kIntegerTypes.end() &&
      absl::SimpleAtoi(text, &number)) {
    return number;
  }
  return std::string(text);
}

// How a transaction begins.
struct Kind {
  absl::string_view begin = {};
  // Waits for the other writers.
  bool locks = false;
  // Once it has the lock, a statement may take as long as it does.
  bool at_length = false;
};

// One connection. Used by one thread at a time.
class Connection final : public SqlTransaction {
 public:
  Connection(const std::string& conninfo, const PostgresLimits& limits)
      : session_(conninfo, limits), silence_(limits.silence) {}

  const PostgresSession& session() const { return session_; }

  // Whether the latest transaction was rolled back for another's sake
  // (serialization_failure, deadlock_detected) and may be tried again.
  bool conflicted() const { return conflicted_; }

  // Whether it broke before the latest transaction did anything, and had been of use
  // before: another may be made in its place.
  bool was_stale() const { return used_ && !began_ && !session_.usable(); }

  absl::StatusOr<std::vector<SqlRow>> Query(absl::string_view sql,
                                            absl::Span<const SqlValue> values) override {
    POSTERN_ASSIGN_OR_RETURN(const PostgresResult result, Run(sql, values));
    std::vector<SqlRow> rows;
    for (int row = 0; row < PQntuples(result.get()); ++row) {
      std::vector<SqlValue> columns;
      for (int column = 0; column < PQnfields(result.get()); ++column) {
        columns.push_back(ValueOf(result.get(), row, column));
      }
      rows.emplace_back(std::move(columns));
    }
    return rows;
  }

  absl::StatusOr<int64_t> Execute(absl::string_view sql,
                                  absl::Span<const SqlValue> values) override {
    POSTERN_ASSIGN_OR_RETURN(const PostgresResult result, Run(sql, values));
    int64_t changed = 0;
    if (!absl::SimpleAtoi(PQcmdTuples(result.get()), &changed)) return 0;
    return changed;
  }

  absl::Status Hint(const std::string& text) override {
    return Run("SELECT pg_notify($1, $2)", {std::string(kHintChannel), text}).status();
  }

  absl::Status Transact(const Kind& kind, const Database::Body& body) {
    conflicted_ = false;
    used_ = used_ || began_;
    began_ = false;
    at_length_ = false;
    POSTERN_RETURN_IF_ERROR(session_.Run(kind.begin, {}, silence_).status());
    began_ = true;
    absl::Status status = Lock(kind);
    if (status.ok()) status = body(*this);
    if (status.ok()) status = Commit();
    if (!status.ok()) session_.Run("ROLLBACK", {}, silence_).IgnoreError();
    return status;
  }

 private:
  absl::Status Lock(const Kind& kind) {
    if (kind.locks) POSTERN_RETURN_IF_ERROR(Run(kWriteLock, {}).status());
    if (!kind.at_length) return absl::OkStatus();
    at_length_ = true;
    return Run("SET LOCAL statement_timeout = 0", {}).status();
  }

  absl::Status Commit() {
    const absl::StatusOr<PostgresResult> committed = Run("COMMIT", {});
    if (!committed.ok() && !session_.usable()) {
      return CodedError(absl::StatusCode::kUnavailable, "OutcomeUnknown",
                        "the connection to the store broke while a change was written: whether it "
                        "was made is not known; look before trying again");
    }
    POSTERN_RETURN_IF_ERROR(committed.status());
    const PostgresResult& result = *committed;
    // The server answers so where a statement before has failed.
    if (absl::string_view(PQcmdStatus(result.get())) == "ROLLBACK") {
      return absl::InternalError("PostgreSQL rolled back what was to be committed");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PostgresResult> Run(absl::string_view sql, absl::Span<const SqlValue> values) {
    absl::StatusOr<PostgresResult> result = session_.Run(
        sql, values,
        at_length_ ? std::optional<absl::Duration>(absl::InfiniteDuration()) : std::nullopt);
    conflicted_ = conflicted_ || absl::StartsWith(session_.sqlstate(), "40");
    return result;
  }

  PostgresSession session_;
  const absl::Duration silence_;
  bool conflicted_ = false;
  // Of the latest transaction, and whether one had begun before that.
  bool began_ = false;
  bool used_ = false;
  bool at_length_ = false;
};

class PostgresServer final : public Database {
 public:
  PostgresServer(std::string conninfo, const PostgresLimits& limits)
      : conninfo_(std::move(conninfo)), limits_(limits) {}

  absl::Status Read(const Body& body) override {
    return Run({.begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}, body);
  }

  absl::Status Write(const Body& body) override {
    return Run({.begin = kBeginWrite, .locks = true}, body);
  }

  absl::Status WriteAtLength(const Body& body) override {
    return Run({.begin = kBeginWrite, .locks = true, .at_length = true}, body);
  }

  std::unique_ptr<HintListener> Listen(std::function<void(const std::string&)> take) override {
    const auto is_own = [this](int pid) {
      const std::lock_guard lock(mutex_);
      return pids_.contains(pid);
    };
    return ListenToPostgres(conninfo_, limits_, is_own, std::move(take));
  }

 private:
  using Deadline = std::chrono::steady_clock::time_point;

  absl::Status Run(const Kind& kind, const Body& body) {
    const Deadline deadline =
        std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(limits_.pool);
    absl::Status status;
    for (int tries = 0; tries < kMostTries; ++tries) {
      POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Take(deadline));
      const PostgresSession& session = connection->session();
      status = session.usable() ? connection->Transact(kind, body) : session.Problem();
      // One of the pool may be from before the server's last start.
      const bool again = !status.ok() && (connection->conflicted() || connection->was_stale());
      Give(std::move(connection));
      if (!again || std::chrono::steady_clock::now() >= deadline) break;
    }
    return status;
  }

  // A connection of one's own; waits while all are taken.
  absl::StatusOr<std::unique_ptr<Connection>> Take(Deadline deadline) {
    std::unique_ptr<Connection> connection;
    {
      std::unique_lock lock(mutex_);
      if (!returned_.wait_until(lock, deadline, [this] { return taken_ < kConnections; })) {
        return absl::UnavailableError(
            "PostgreSQL: all connections to it are taken by what does not end");
      }
      ++taken_;
      if (!idle_.empty()) {
        connection = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (connection != nullptr) return connection;
    connection = std::make_unique<Connection>(conninfo_, limits_);
    const std::lock_guard lock(mutex_);
    pids_.insert(connection->session().pid());
    return connection;
  }

  // One that broke is not kept: the next taker makes another.
  void Give(std::unique_ptr<Connection> connection) {
    const std::lock_guard lock(mutex_);
    --taken_;
    if (connection->was_stale()) Drop();
    if (connection->session().at_rest()) {
      idle_.push_back(std::move(connection));
    } else {
      pids_.erase(connection->session().pid());
    }
    returned_.notify_one();
  }

  // The others are as old as the one that was found stale, and each would be waited for.
  void Drop() {
    for (const auto& connection : idle_) pids_.erase(connection->session().pid());
    idle_.clear();
  }

  const std::string conninfo_;
  const PostgresLimits limits_;
  std::mutex mutex_;
  std::condition_variable returned_;
  size_t taken_ = 0;
  std::vector<std::unique_ptr<Connection>> idle_;
  // Of the processes that serve the connections.
  std::set<int> pids_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenPostgresDatabase(const std::string& conninfo,
                                                               const PostgresLimits& limits) {
  auto server = std::make_unique<PostgresServer>(conninfo, limits);
  POSTERN_RETURN_IF_ERROR(
      server->Read([](SqlTransaction&) -> absl::Status { return absl::OkStatus(); }));
  return server;
}

}  // namespace postern::controller
