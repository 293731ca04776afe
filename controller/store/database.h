// SQL as far as the controller needs it, on SQLite or PostgreSQL: statements
// with $1, $2, ... for values, transactions that are retried, nothing else.

#ifndef POSTERN_CONTROLLER_STORE_DATABASE_H_
#define POSTERN_CONTROLLER_STORE_DATABASE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace postern::controller {

// NULL, a 64-bit integer, or UTF-8 text.
using SqlValue = std::variant<std::monostate, int64_t, std::string>;

// One row of an answer. Asking for a column as what it is not gives 0 or "".
class SqlRow {
 public:
  explicit SqlRow(std::vector<SqlValue> values) : values_(std::move(values)) {}

  bool IsNull(size_t column) const {
    return std::holds_alternative<std::monostate>(values_.at(column));
  }
  int64_t Int(size_t column) const {
    const auto* value = std::get_if<int64_t>(&values_.at(column));
    return value == nullptr ? 0 : *value;
  }
  std::string Text(size_t column) const {
    const auto* value = std::get_if<std::string>(&values_.at(column));
    return value == nullptr ? "" : *value;
  }

 private:
  std::vector<SqlValue> values_ = {};
};

// Lives within one call of Database::Read or Write, on one thread.
class SqlTransaction {
 public:
  virtual ~SqlTransaction() = default;

  // Runs one statement and gives its rows, all of them: callers bound them with
  // LIMIT.
  virtual absl::StatusOr<std::vector<SqlRow>> Query(absl::string_view sql,
                                                    absl::Span<const SqlValue> values) = 0;
  // Runs one statement and gives the number of rows it changed.
  virtual absl::StatusOr<int64_t> Execute(absl::string_view sql,
                                          absl::Span<const SqlValue> values) = 0;
  // Has other controllers on the same data told `text`, once what this does is
  // durable. At most 8,000 bytes.
  virtual absl::Status Hint(const std::string& text) = 0;
};

// While it lives, hints are heard.
class HintListener {
 public:
  virtual ~HintListener() = default;
};

// Called from any thread. Errors:
//   RESOURCE_EXHAUSTED  the disk is full
//   UNAVAILABLE         the database cannot be reached, or is busy for too long; with the
//                       code OutcomeUnknown, what was to be written may have been
//   INTERNAL            anything else: a statement is wrong
class Database {
 public:
  using Body = std::function<absl::Status(SqlTransaction&)>;

  virtual ~Database() = default;

  // Runs `body` on one unchanging view of the data.
  virtual absl::Status Read(const Body& body) = 0;

  // Runs `body` and makes what it did durable, all of it, when it gives OK;
  // otherwise nothing of it. One at a time over all controllers on the same data,
  // so that `body` may read, decide and write without another in between. `body`
  // may be run again where the database asks for it.
  virtual absl::Status Write(const Body& body) = 0;

  // As Write, where one statement may take as long as it does: to change tables.
  virtual absl::Status WriteAtLength(const Body& body) = 0;

  // Has `take` called with the hints of other controllers, by a thread of its own,
  // and with "" where some may have been missed. Null where nobody else can be on
  // the same data.
  virtual std::unique_ptr<HintListener> Listen(std::function<void(const std::string&)> take) = 0;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_DATABASE_H_
