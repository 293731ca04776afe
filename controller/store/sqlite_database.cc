#include "controller/store/sqlite_database.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/sqlite/sqlite.h"
#include "common/status.h"

namespace postern::controller {
namespace {

// One connection and its prepared statements. Used by one thread at a time.
class Connection final : public SqlTransaction {
 public:
  explicit Connection(SqliteDatabase database) : database_(std::move(database)) {}

  absl::StatusOr<std::vector<SqlRow>> Query(absl::string_view sql,
                                            absl::Span<const SqlValue> values) override {
    POSTERN_ASSIGN_OR_RETURN(SqliteStatement * statement, Bound(sql, values));
    std::vector<SqlRow> rows;
    while (true) {
      const absl::StatusOr<bool> more = statement->Step();
      if (!more.ok()) return Judged(more.status());
      if (!*more) return rows;
      rows.push_back(RowOf(*statement));
    }
  }

  absl::StatusOr<int64_t> Execute(absl::string_view sql,
                                  absl::Span<const SqlValue> values) override {
    POSTERN_ASSIGN_OR_RETURN(SqliteStatement * statement, Bound(sql, values));
    POSTERN_RETURN_IF_ERROR(Judged(statement->Run()));
    return database_.changes();
  }

  // There is no other controller.
  absl::Status Hint(const std::string&) override { return absl::OkStatus(); }

  // Runs `body` between `begin` and COMMIT.
  absl::Status Transact(const std::string& begin, const Database::Body& body) {
    POSTERN_RETURN_IF_ERROR(database_.Execute(begin));
    absl::Status status = body(*this);
    if (status.ok()) status = database_.Execute("COMMIT");
    // Some errors have ended the transaction already; then there is none to end.
    if (!status.ok()) database_.Execute("ROLLBACK").IgnoreError();
    return status;
  }

 private:
  // Nobody gets a wrong statement right by trying again.
  absl::Status Judged(const absl::Status& status) const {
    if (!absl::IsUnavailable(status) || !database_.was_asked_wrongly()) return status;
    return absl::InternalError(status.message());
  }

  static SqlRow RowOf(const SqliteStatement& statement) {
    std::vector<SqlValue> values;
    for (int column = 0; column < statement.columns(); ++column) {
      if (statement.IsNull(column)) {
        values.emplace_back(std::monostate());
      } else if (statement.IsInt(column)) {
        values.emplace_back(statement.Int(column));
      } else {
        values.emplace_back(statement.Text(column));
      }
    }
    return SqlRow(std::move(values));
  }

  absl::StatusOr<SqliteStatement*> Bound(absl::string_view sql, absl::Span<const SqlValue> values) {
    auto found = statements_.find(sql);
    if (found == statements_.end()) {
      // SQLite numbers ?1 as PostgreSQL does $1; its own $1 is only a name.
      std::string numbered(sql);
      std::replace(numbered.begin(), numbered.end(), '$', '?');
      absl::StatusOr<SqliteStatement> statement = database_.Prepare(numbered);
      if (!statement.ok()) return Judged(statement.status());
      found = statements_.emplace(std::string(sql), *std::move(statement)).first;
    }
    SqliteStatement& statement = found->second;
    // What a body that failed half-way through its rows has left.
    statement.Reset();
    for (size_t i = 0; i < values.size(); ++i) {
      const int position = static_cast<int>(i) + 1;
      if (const auto* number = std::get_if<int64_t>(&values[i])) {
        statement.Bind(position, *number);
      } else if (const auto* text = std::get_if<std::string>(&values[i])) {
        statement.Bind(position, absl::string_view(*text));
      } else {
        statement.BindNull(position);
      }
    }
    return &statement;
  }

  SqliteDatabase database_;
  // By their text: all of them are constants of this program.
  std::map<std::string, SqliteStatement, std::less<>> statements_;
};

class SqliteFile final : public Database {
 public:
  SqliteFile(SqliteDatabase writer, SqliteDatabase reader)
      : writer_(std::move(writer)), reader_(std::move(reader)) {}

  absl::Status Read(const Body& body) override {
    const std::lock_guard lock(reading_);
    return reader_.Transact("BEGIN", body);
  }

  absl::Status Write(const Body& body) override {
    const std::lock_guard lock(writing_);
    return writer_.Transact("BEGIN IMMEDIATE", body);
  }

  absl::Status WriteAtLength(const Body& body) override { return Write(body); }

  std::unique_ptr<HintListener> Listen(std::function<void(const std::string&)>) override {
    return nullptr;
  }

 private:
  std::mutex writing_;
  Connection writer_;
  // In WAL mode readers and the writer do not wait for each other.
  std::mutex reading_;
  Connection reader_;
};

absl::StatusOr<SqliteDatabase> OpenConnection(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  // EXTRA is FULL, and before the log is there also keeps a journal from coming back after it
  // was deleted.
  for (const char* pragma : {"PRAGMA busy_timeout = 5000", "PRAGMA synchronous = EXTRA",
                             "PRAGMA journal_mode = WAL", "PRAGMA foreign_keys = ON"}) {
    POSTERN_RETURN_IF_ERROR(Annotate(database.Execute(pragma), path));
  }
  return database;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenSqliteDatabase(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(SqliteDatabase writer, OpenConnection(path));
  POSTERN_ASSIGN_OR_RETURN(SqliteDatabase reader, OpenConnection(path));
  return std::make_unique<SqliteFile>(std::move(writer), std::move(reader));
}

}  // namespace postern::controller
