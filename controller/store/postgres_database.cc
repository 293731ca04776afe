#include "controller/store/postgres_database.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/status.h"
#include "controller/store/postgres_connection.h"
#include "controller/store/postgres_hints.h"

namespace postern::controller {
namespace {

constexpr size_t kConnections = 4;
// PostgreSQL's types of whole numbers (pg_type.dat).
constexpr std::array<Oid, 3> kIntegerTypes = {20, 21, 23};
// Writers wait for each other with this lock: one transaction decides at a time,
// whichever controller it is of. Any number does, as long as it is always the same.
constexpr char kWriteLock[] = "SELECT pg_advisory_xact_lock(7069632)";
constexpr int kMostTries = 5;

absl::string_view Trimmed(const char* message) {
  return absl::StripTrailingAsciiWhitespace(absl::NullSafeStringView(message));
}

// For an SQLSTATE (https://www.postgresql.org/docs/15/errcodes-appendix.html).
absl::Status ErrorOf(absl::string_view state, absl::string_view message) {
  const std::string text = absl::StrCat("PostgreSQL: ", message, " (SQLSTATE ", state, ")");
  if (state == "53100") return absl::ResourceExhaustedError(text);
  // Connection, rolled back for another's sake, resources, operator's intervention,
  // a standby that is read-only.
  for (const char* kind : {"08", "40", "53", "57", "25006"}) {
    if (absl::StartsWith(state, kind)) return absl::UnavailableError(text);
  }
  return absl::InternalError(text);
}

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

// One connection. Used by one thread at a time.
class Connection final : public SqlTransaction {
 public:
  explicit Connection(const std::string& conninfo) : connection_(ConnectToPostgres(conninfo)) {}

  bool usable() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

  // Whether the latest transaction was rolled back for another's sake
  // (serialization_failure, deadlock_detected) and may be tried again.
  bool conflicted() const { return conflicted_; }

  // Whether it broke before the latest transaction did anything.
  bool was_stale() const { return !began_ && !usable(); }

  // The process that serves it.
  int pid() const { return PQbackendPID(connection_.get()); }

  absl::Status Problem() const { return ConnectionProblem(connection_); }

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

  absl::Status Transact(absl::string_view begin, bool locks, const Database::Body& body) {
    conflicted_ = false;
    began_ = false;
    POSTERN_RETURN_IF_ERROR(Run(begin, {}).status());
    began_ = true;
    absl::Status status = locks ? Run(kWriteLock, {}).status() : absl::OkStatus();
    if (status.ok()) status = body(*this);
    if (status.ok()) status = Commit();
    if (!status.ok()) Run("ROLLBACK", {}).IgnoreError();
    return status;
  }

 private:
  absl::Status Commit() {
    POSTERN_ASSIGN_OR_RETURN(const PostgresResult result, Run("COMMIT", {}));
    // The server answers so where a statement before has failed.
    if (absl::string_view(PQcmdStatus(result.get())) == "ROLLBACK") {
      return absl::InternalError("PostgreSQL rolled back what was to be committed");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PostgresResult> Run(absl::string_view sql, absl::Span<const SqlValue> values) {
    std::vector<std::string> numbers(values.size());
    std::vector<const char*> texts(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      if (const auto* number = std::get_if<int64_t>(&values[i])) {
        numbers[i] = absl::StrCat(*number);
        texts[i] = numbers[i].c_str();
      } else if (const auto* text = std::get_if<std::string>(&values[i])) {
        // PostgreSQL's text holds no NUL, and libpq would end it there in silence.
        if (absl::StrContains(*text, '\0')) {
          return absl::InvalidArgumentError("text with a NUL cannot be stored");
        }
        texts[i] = text->c_str();
      }
    }
    PostgresResult result(PQexecParams(connection_.get(), std::string(sql).c_str(),
                                       static_cast<int>(values.size()), nullptr, texts.data(),
                                       nullptr, nullptr, 0));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    if (state == nullptr) return Problem();
    conflicted_ = conflicted_ || absl::StartsWith(state, "40");
    return ErrorOf(state, Trimmed(PQresultErrorMessage(result.get())));
  }

  PostgresConnection connection_;
  bool conflicted_ = false;
  bool began_ = false;
};

class PostgresServer final : public Database {
 public:
  explicit PostgresServer(std::string conninfo) : conninfo_(std::move(conninfo)) {}

  absl::Status Read(const Body& body) override {
    return Run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", false, body);
  }

  absl::Status Write(const Body& body) override {
    return Run("BEGIN ISOLATION LEVEL READ COMMITTED", true, body);
  }

  std::unique_ptr<HintListener> Listen(std::function<void(const std::string&)> take) override {
    const auto is_own = [this](int pid) {
      const std::lock_guard lock(mutex_);
      return pids_.contains(pid);
    };
    return ListenToPostgres(conninfo_, is_own, std::move(take));
  }

 private:
  absl::Status Run(absl::string_view begin, bool locks, const Body& body) {
    absl::Status status;
    for (int tries = 0; tries < kMostTries; ++tries) {
      std::unique_ptr<Connection> connection = Take();
      status =
          connection->usable() ? connection->Transact(begin, locks, body) : connection->Problem();
      // One of the pool may be from before the server's last start.
      const bool again = !status.ok() && (connection->conflicted() || connection->was_stale());
      Give(std::move(connection));
      if (!again) break;
    }
    return status;
  }

  // A connection of one's own; waits while all are taken.
  std::unique_ptr<Connection> Take() {
    std::unique_ptr<Connection> connection;
    {
      std::unique_lock lock(mutex_);
      returned_.wait(lock, [this] { return !idle_.empty() || taken_ < kConnections; });
      ++taken_;
      if (!idle_.empty()) {
        connection = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (connection != nullptr) return connection;
    connection = std::make_unique<Connection>(conninfo_);
    const std::lock_guard lock(mutex_);
    pids_.insert(connection->pid());
    return connection;
  }

  // One that broke is not kept: the next taker makes another.
  void Give(std::unique_ptr<Connection> connection) {
    const std::lock_guard lock(mutex_);
    --taken_;
    if (connection->usable()) {
      idle_.push_back(std::move(connection));
    } else {
      pids_.erase(connection->pid());
    }
    returned_.notify_one();
  }

  const std::string conninfo_;
  std::mutex mutex_;
  std::condition_variable returned_;
  size_t taken_ = 0;
  std::vector<std::unique_ptr<Connection>> idle_;
  // Of the processes that serve the connections.
  std::set<int> pids_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenPostgresDatabase(const std::string& conninfo) {
  auto server = std::make_unique<PostgresServer>(conninfo);
  POSTERN_RETURN_IF_ERROR(
      server->Read([](SqlTransaction&) -> absl::Status { return absl::OkStatus(); }));
  return server;
}

}  // namespace postern::controller
