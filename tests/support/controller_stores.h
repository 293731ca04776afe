// The databases that the controller's tests run on, each of them.

#ifndef POSTERN_TESTS_SUPPORT_CONTROLLER_STORES_H_
#define POSTERN_TESTS_SUPPORT_CONTROLLER_STORES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/store/database.h"
#include "tests/support/postgres.h"
#include "tests/support/temporary_directory.h"

namespace postern::controller {

enum class StoreKind : uint8_t { kSqlite, kPostgres };

// For the names of parameterised tests.
std::string StoreName(StoreKind kind);

// One store, without tables. PostgreSQL runs once for a whole test program.
class TestStore {
 public:
  static absl::StatusOr<std::unique_ptr<TestStore>> Make(StoreKind kind);

  Database& database() { return *database_; }
  // Another connection to the same data, as another controller or the next start
  // has it.
  absl::StatusOr<std::unique_ptr<Database>> OpenAgain() const;

 private:
  explicit TestStore(StoreKind kind) : kind_(kind) {}

  const StoreKind kind_;
  const TemporaryDirectory directory_;
  std::string where_;
  std::unique_ptr<Database> database_;
};

// The server of this test program; started when it is first asked for.
absl::StatusOr<PostgresServer*> SharedPostgres();

}  // namespace postern::controller

#endif  // POSTERN_TESTS_SUPPORT_CONTROLLER_STORES_H_
