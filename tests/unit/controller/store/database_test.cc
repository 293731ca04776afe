#include "controller/store/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/store/postgres_database.h"
#include "controller/store/schema.h"
#include "controller/store/vms.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

class DatabaseTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(GetParam());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ASSERT_EQ(Execute("CREATE TABLE numbers (name TEXT PRIMARY KEY, value BIGINT)"),
              absl::OkStatus());
  }

  absl::Status Execute(const std::string& sql, const std::vector<SqlValue>& values = {}) {
    return store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
      return transaction.Execute(sql, values).status();
    });
  }

  std::vector<SqlRow> Query(const std::string& sql, const std::vector<SqlValue>& values = {}) {
    std::vector<SqlRow> rows;
    const absl::Status status =
        store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
          POSTERN_ASSIGN_OR_RETURN(rows, transaction.Query(sql, values));
          return absl::OkStatus();
        });
    EXPECT_EQ(status, absl::OkStatus());
    return rows;
  }

  std::unique_ptr<TestStore> store_;
};

TEST_P(DatabaseTest, ValuesComeBackAsTheyWent) {
  const std::string text = "'; DROP TABLE numbers; -- \xc3\xa4 $1 ?2 %";
  ASSERT_EQ(Execute("INSERT INTO numbers VALUES ($2, $1)", {int64_t{-1} << 63, text}),
            absl::OkStatus());
  ASSERT_EQ(Execute("INSERT INTO numbers VALUES ($1, $2)", {std::string(), std::monostate()}),
            absl::OkStatus());
  const std::vector<SqlRow> rows = Query("SELECT name, value FROM numbers ORDER BY name");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].Text(0), "");
  EXPECT_FALSE(rows[0].IsNull(0));
  EXPECT_TRUE(rows[0].IsNull(1));
  EXPECT_EQ(rows[1].Text(0), text);
  EXPECT_EQ(rows[1].Int(1), int64_t{-1} << 63);
}

TEST_P(DatabaseTest, AFailedBodyChangesNothing) {
  const absl::Status status =
      store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
        POSTERN_RETURN_IF_ERROR(
            transaction.Execute("INSERT INTO numbers VALUES ('a', 1)", {}).status());
        return absl::FailedPreconditionError("no");
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Query("SELECT * FROM numbers").empty());
}

TEST_P(DatabaseTest, AWrongStatementFailsTheWholeTransaction) {
  const absl::Status status =
      store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
        POSTERN_RETURN_IF_ERROR(
            transaction.Execute("INSERT INTO numbers VALUES ('a', 1)", {}).status());
        return transaction.Execute("INSERT INTO numbers VALUES ('a', 2)", {}).status();
      });
  // Not what may be tried again.
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_TRUE(Query("SELECT * FROM numbers").empty());
  EXPECT_EQ(Execute("INSERT INTO nowhere VALUES ('a')").code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Execute("INSERT INTO numbers VALUES ('a', 3)"), absl::OkStatus());
}

TEST_P(DatabaseTest, TellsHowManyRowsItChanged) {
  ASSERT_EQ(Execute("INSERT INTO numbers VALUES ('a', 1), ('b', 1), ('c', 2)"), absl::OkStatus());
  int64_t changed = 0;
  ASSERT_EQ(store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(
        changed,
        transaction.Execute("UPDATE numbers SET value = 3 WHERE value = $1", {int64_t{1}}));
    return absl::OkStatus();
  }),
            absl::OkStatus());
  EXPECT_EQ(changed, 2);
}

// Two controllers, four threads each: whoever reads, decides and writes is alone.
TEST_P(DatabaseTest, WritersDoNotInterleave) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  ASSERT_EQ(Execute("INSERT INTO numbers VALUES ('count', 0)"), absl::OkStatus());
  const absl::StatusOr<std::unique_ptr<Database>> other = store_->OpenAgain();
  ASSERT_TRUE(other.ok()) << other.status();
  const auto count = [](Database& database) {
    for (int round = 0; round < kRounds; ++round) {
      const absl::Status status = database.Write([](SqlTransaction& transaction) -> absl::Status {
        POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                                 transaction.Query("SELECT value FROM numbers", {}));
        return transaction.Execute("UPDATE numbers SET value = $1", {rows[0].Int(0) + 1}).status();
      });
      EXPECT_EQ(status, absl::OkStatus());
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] { count(store_->database()); });
    threads.emplace_back([&] { count(**other); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Query("SELECT value FROM numbers")[0].Int(0), 2 * kThreads * kRounds);
}

TEST_P(DatabaseTest, MigratesOnceAndAgain) {
  ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  EXPECT_EQ(Query("SELECT version FROM schema_version")[0].Int(0), kSchemaVersion);
}

TEST_P(DatabaseTest, MigratesFromEachEarlierRelease) {
  for (int64_t version = 1; version < kSchemaVersion; ++version) {
    absl::StatusOr<std::unique_ptr<TestStore>> old = TestStore::Make(GetParam());
    ASSERT_TRUE(old.ok()) << old.status();
    Database& database = (*old)->database();
    ASSERT_EQ(Migrate(database, version), absl::OkStatus());
    const std::string vm =
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web/providers/"
        "Microsoft.Compute/virtualMachines/web-1";
    ASSERT_EQ(database.Write([&](SqlTransaction& transaction) {
      return transaction
          .Execute(
              "INSERT INTO vms (vm_key, vm, location, subscription, group_key, enrolled_us, "
              "certificate_serial, certificate_expires_us, stream, agent_version, hostname, "
              "enforces, clock_skew_us, wanted_revision, applied_revision) VALUES "
              "($1, $2, 'west', '', '', 0, 'ab', 0, '', '', '', 1, 0, 7, 6)",
              {absl::AsciiStrToLower(vm), vm})
          .status();
    }),
              absl::OkStatus());
    ASSERT_EQ(Migrate(database), absl::OkStatus()) << version;
    EXPECT_EQ(database.Read([&](SqlTransaction& transaction) -> absl::Status {
      const absl::StatusOr<std::optional<VmRow>> row =
          FindVmRow(transaction, absl::AsciiStrToLower(vm));
      EXPECT_TRUE(row.ok() && row->has_value()) << row.status();
      if (!row.ok() || !row->has_value()) return row.status();
      EXPECT_EQ((*row)->certificate_serial, "ab");
      EXPECT_EQ((*row)->wanted_revision, 7);
      return absl::OkStatus();
    }),
              absl::OkStatus());
  }
}

TEST_P(DatabaseTest, RefusesTheTablesOfANewerRelease) {
  ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  ASSERT_EQ(Execute("UPDATE schema_version SET version = 1000"), absl::OkStatus());
  const absl::Status status = Migrate(store_->database());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000"));
}

TEST_P(DatabaseTest, TwoControllersMayMigrateAtOnce) {
  const absl::StatusOr<std::unique_ptr<Database>> other = store_->OpenAgain();
  ASSERT_TRUE(other.ok()) << other.status();
  absl::Status first;
  std::thread thread([&] { first = Migrate(store_->database()); });
  const absl::Status second = Migrate(**other);
  thread.join();
  EXPECT_EQ(first, absl::OkStatus());
  EXPECT_EQ(second, absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(Stores, DatabaseTest,
                         testing::Values(StoreKind::kSqlite, StoreKind::kPostgres),
                         [](const auto& test) { return StoreName(test.param); });

TEST(PostgresDatabaseTest, GoneAndBackAgain) {
  absl::StatusOr<std::unique_ptr<PostgresServer>> server = PostgresServer::Start();
  ASSERT_TRUE(server.ok()) << server.status();
  const absl::StatusOr<std::string> conninfo = (*server)->NewDatabase();
  ASSERT_TRUE(conninfo.ok()) << conninfo.status();
  absl::StatusOr<std::unique_ptr<Database>> database = OpenPostgresDatabase(*conninfo);
  ASSERT_TRUE(database.ok()) << database.status();
  ASSERT_EQ(Migrate(**database), absl::OkStatus());
  const auto count = [](SqlTransaction& transaction) -> absl::Status {
    return transaction.Query("SELECT COUNT(*) FROM vms", {}).status();
  };
  (*server)->Kill();
  for (int i = 0; i < 6; ++i) {
    const absl::Status status = (*database)->Write(count);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  }
  ASSERT_EQ((*server)->Run(), absl::OkStatus());
  EXPECT_EQ((*database)->Write(count), absl::OkStatus());
}

// It may have been made durable before the answer was lost.
TEST(PostgresDatabaseTest, SaysThatTheOutcomeIsNotKnownWhereTheCommitHasNoAnswer) {
  absl::StatusOr<std::unique_ptr<PostgresServer>> server = PostgresServer::Start();
  ASSERT_TRUE(server.ok()) << server.status();
  absl::StatusOr<std::unique_ptr<Database>> database =
      OpenPostgresDatabase(*(*server)->NewDatabase());
  ASSERT_TRUE(database.ok()) << database.status();
  const absl::Status status = (*database)->Write([&](SqlTransaction&) -> absl::Status {
    (*server)->Kill();
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(AzureCodeOf(status), "OutcomeUnknown") << status;
}

// A pool keeps connections to the server that was.
TEST(PostgresDatabaseTest, ARestartOfTheServerIsNotNoticed) {
  absl::StatusOr<std::unique_ptr<PostgresServer>> server = PostgresServer::Start();
  ASSERT_TRUE(server.ok()) << server.status();
  absl::StatusOr<std::unique_ptr<Database>> database =
      OpenPostgresDatabase(*(*server)->NewDatabase());
  ASSERT_TRUE(database.ok()) << database.status();
  (*server)->Kill();
  ASSERT_EQ((*server)->Run(), absl::OkStatus());
  EXPECT_EQ((*database)->Write([](SqlTransaction& transaction) {
    return transaction.Query("SELECT 1", {}).status();
  }),
            absl::OkStatus());
}

// Hints of one who listens to another on the same data.
class Hints {
 public:
  void Take(const std::string& hint) {
    const std::lock_guard lock(mutex_);
    hints_.push_back(hint);
    came_.notify_all();
  }
  // The next one.
  std::string Next() {
    std::unique_lock lock(mutex_);
    came_.wait_for(lock, std::chrono::seconds(30), [this] { return !hints_.empty(); });
    if (hints_.empty()) return "none came";
    std::string hint = hints_.front();
    hints_.pop_front();
    return hint;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::string> hints_;
};

TEST(PostgresDatabaseTest, HintsReachTheOthersOnceTheyAreTrue) {
  absl::StatusOr<std::unique_ptr<PostgresServer>> server = PostgresServer::Start();
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string conninfo = *(*server)->NewDatabase();
  const std::unique_ptr<Database> one = *OpenPostgresDatabase(conninfo);
  const std::unique_ptr<Database> other = *OpenPostgresDatabase(conninfo);
  Hints hints;
  const std::unique_ptr<HintListener> listener =
      one->Listen([&](const std::string& hint) { hints.Take(hint); });
  const auto say = [](Database& database, const std::string& text, const absl::Status& end) {
    return database.Write([&](SqlTransaction& transaction) -> absl::Status {
      EXPECT_EQ(transaction.Hint(text), absl::OkStatus());
      return end;
    });
  };
  // Some may have been missed before it listened.
  EXPECT_EQ(hints.Next(), "");
  EXPECT_FALSE(say(*other, "rolled back", absl::CancelledError()).ok());
  ASSERT_EQ(say(*one, "its own", absl::OkStatus()), absl::OkStatus());
  ASSERT_EQ(say(*other, "web-1", absl::OkStatus()), absl::OkStatus());
  EXPECT_EQ(hints.Next(), "web-1");
  (*server)->Kill();
  ASSERT_EQ((*server)->Run(), absl::OkStatus());
  EXPECT_EQ(hints.Next(), "");
  ASSERT_EQ(say(*other, "web-2", absl::OkStatus()), absl::OkStatus());
  EXPECT_EQ(hints.Next(), "web-2");
}

TEST(PostgresDatabaseTest, SaysThatTheServerCannotBeReached) {
  const absl::Status status = OpenPostgresDatabase("host=/nowhere dbname=postern").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace postern::controller
