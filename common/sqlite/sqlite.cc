#include "common/sqlite/sqlite.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {
namespace {

// What SQLite's words do not tell: why no write can work where `file` is, and the
// way out.
std::string WayOut(int kind, absl::string_view file) {
  const std::string folder(file.substr(0, file.rfind('/')));
  if (kind == SQLITE_FULL) return absl::StrCat("; make space on the disk of ", folder);
  if (kind != SQLITE_IOERR && kind != SQLITE_READONLY && kind != SQLITE_CANTOPEN) return "";
  struct statvfs disk {};
  if (statvfs(folder.c_str(), &disk) == 0 && (disk.f_flag & ST_RDONLY) != 0) {
    return absl::StrCat("; the state folder ", folder,
                        " is on a read-only file system: mount it writable, or move state_dir");
  }
  if (access(folder.c_str(), R_OK | W_OK | X_OK) != 0 && errno == EACCES) {
    return absl::StrCat("; this program's user may not write in the state folder ", folder,
                        ": give it to that user, or move state_dir");
  }
  return "";
}

// For a result code (https://www.sqlite.org/rescode.html).
// `path` is empty once the database is open, and knows it.
absl::Status ErrorOf(sqlite3* database, int code, absl::string_view doing,
                     absl::string_view path = "") {
  const int kind = code & 0xff;
  if (path.empty() && database != nullptr) {
    path = absl::NullSafeStringView(sqlite3_db_filename(database, "main"));
  }
  const std::string message = absl::StrCat(
      doing, ": ", database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database),
      " (SQLite ", code, ")", WayOut(kind, path));
  switch (kind) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(message);
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteStatement& SqliteStatement::Bind(int position, int64_t value) {
  const int code = sqlite3_bind_int64(statement_.get(), position, value);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int position, absl::string_view text) {
  const int code = sqlite3_bind_text64(statement_.get(), position, text.data(), text.size(),
                                       SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::BindNull(int position) {
  const int code = sqlite3_bind_null(statement_.get(), position);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int position, const std::optional<int64_t>& value) {
  return value ? Bind(position, *value) : BindNull(position);
}

absl::StatusOr<bool> SqliteStatement::Step() {
  const int code = bind_error_ != 0 ? bind_error_ : sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  absl::Status status;
  if (code != SQLITE_DONE) {
    status = ErrorOf(sqlite3_db_handle(statement_.get()), code, "running a statement");
  }
  Reset();
  if (!status.ok()) return status;
  return false;
}

absl::Status SqliteStatement::Run() {
  const absl::StatusOr<bool> row = Step();
  if (row.ok() && *row) {
    Reset();
    return absl::InternalError("a statement without rows gave one");
  }
  return row.status();
}

void SqliteStatement::Reset() {
  bind_error_ = 0;
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

int SqliteStatement::columns() const { return sqlite3_column_count(statement_.get()); }

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

bool SqliteStatement::IsInt(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_INTEGER;
}

int64_t SqliteStatement::Int(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::optional<int64_t> SqliteStatement::OptionalInt(int column) const {
  if (IsNull(column)) return std::nullopt;
  return Int(column);
}

std::string SqliteStatement::Text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return "";
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
}

int64_t SqliteDatabase::changes() const { return sqlite3_changes64(database_.get()); }

bool SqliteDatabase::was_asked_wrongly() const {
  switch (sqlite3_errcode(database_.get()) & 0xff) {
    case SQLITE_ERROR:
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
      return true;
    default:
      return false;
  }
}

void SqliteDatabase::Close::operator()(sqlite3* database) const { sqlite3_close(database); }

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::string& path) {
  // SQLite makes the database, its -wal and its -shm with the database's mode.
  const mode_t previous = umask(S_IRWXG | S_IRWXO);
  sqlite3* raw = nullptr;
  // One thread owns the connection: SQLite's own locking is not needed.
  const int code = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  umask(previous);
  SqliteDatabase database(raw);
  if (code != SQLITE_OK) return ErrorOf(raw, code, absl::StrCat("opening ", path), path);
  sqlite3_extended_result_codes(raw, 1);
  return database;
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return absl::OkStatus();
  return ErrorOf(database_.get(), code, absl::StrCat("\"", sql.substr(0, sql.find('\n')), "\""));
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) {
    return ErrorOf(database_.get(), code, absl::StrCat("preparing \"", sql, "\""));
  }
  return SqliteStatement(statement);
}

}  // namespace postern
