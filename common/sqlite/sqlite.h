// A thin, typed skin over SQLite's C interface: statements that reset
// themselves, and errors as absl::Status.

#ifndef POSTERN_COMMON_SQLITE_SQLITE_H_
#define POSTERN_COMMON_SQLITE_SQLITE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace postern {

// A prepared statement, to be used many times. Used by one thread.
class SqliteStatement {
 public:
  // Binds by position, from 1. Text is copied.
  SqliteStatement& Bind(int position, int64_t value);
  SqliteStatement& Bind(int position, absl::string_view text);
  SqliteStatement& BindNull(int position);
  SqliteStatement& Bind(int position, const std::optional<int64_t>& value);

  // True when there is a row to read, false at the end. The statement is reset
  // and its bindings are cleared at the end and on an error.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run();
  // Gives up the remaining rows.
  void Reset();

  // The columns of the present row, from 0.
  int columns() const;
  bool IsNull(int column) const;
  bool IsInt(int column) const;
  int64_t Int(int column) const;
  std::optional<int64_t> OptionalInt(int column) const;
  std::string Text(int column) const;

 private:
  friend class SqliteDatabase;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  // The first error of a Bind, told by the next Step.
  int bind_error_ = 0;
};

// One connection. Used by one thread.
class SqliteDatabase {
 public:
  // Opens or creates the file, which only its owner may read.
  static absl::StatusOr<SqliteDatabase> Open(const std::string& path);

  absl::Status Execute(const std::string& sql);
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql);
  // How many rows the latest INSERT, UPDATE or DELETE changed.
  int64_t changes() const;
  // Whether the latest call failed for what it was asked to do, rather than for the
  // state of the file or the disk under it.
  bool was_asked_wrongly() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit SqliteDatabase(sqlite3* database) : database_(database) {}

  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace postern

#endif  // POSTERN_COMMON_SQLITE_SQLITE_H_
