#include "tests/support/controller_stores.h"

#include <utility>

#include "common/status.h"
#include "controller/store/postgres_database.h"
#include "controller/store/sqlite_database.h"

namespace postern::controller {

std::string StoreName(StoreKind kind) { return kind == StoreKind::kSqlite ? "Sqlite" : "Postgres"; }

absl::StatusOr<PostgresServer*> SharedPostgres() {
  // Ended with the program, whose parent-death signal it has.
  static const auto server = PostgresServer::Start();
  if (!server.ok()) return server.status();
  return server->get();
}

absl::StatusOr<std::unique_ptr<TestStore>> TestStore::Make(StoreKind kind) {
  std::unique_ptr<TestStore> store(new TestStore(kind));
  if (kind == StoreKind::kSqlite) {
    store->where_ = store->directory_.Path("controller.db");
  } else {
    POSTERN_ASSIGN_OR_RETURN(PostgresServer * server, SharedPostgres());
    POSTERN_ASSIGN_OR_RETURN(store->where_, server->NewDatabase());
  }
  POSTERN_ASSIGN_OR_RETURN(store->database_, store->OpenAgain());
  return store;
}

absl::StatusOr<std::unique_ptr<Database>> TestStore::OpenAgain() const {
  return kind_ == StoreKind::kSqlite ? OpenSqliteDatabase(where_) : OpenPostgresDatabase(where_);
}

}  // namespace postern::controller
