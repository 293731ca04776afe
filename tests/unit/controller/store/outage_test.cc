// A PostgreSQL that does not answer, or answers too late.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/fd.h"
#include "common/status.h"
#include "controller/store/postgres_database.h"
#include "tests/support/controller_stores.h"
#include "tests/support/postgres.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

// Far more than what is waited for, and far less than for ever.
constexpr absl::Duration kBound = absl::Seconds(20);

// Impatient, but for what a busy machine takes.
constexpr PostgresLimits kLimits = {.connect = absl::Seconds(2), .silence = absl::Seconds(1)};

absl::Status Nothing(SqlTransaction&) { return absl::OkStatus(); }

absl::Status Count(SqlTransaction& transaction) {
  return transaction.Execute("UPDATE numbers SET value = value + 1", {}).status();
}

class OutageTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<PostgresServer*> server = SharedPostgres();
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *server;
    conninfo_ = *server_->NewDatabase();
    const std::unique_ptr<Database> database = Open({});
    ASSERT_EQ(database->Write([](SqlTransaction& transaction) -> absl::Status {
      POSTERN_RETURN_IF_ERROR(
          transaction.Execute("CREATE TABLE numbers (value BIGINT)", {}).status());
      return transaction.Execute("INSERT INTO numbers VALUES (0)", {}).status();
    }),
              absl::OkStatus());
  }

  std::unique_ptr<Database> Open(const PostgresLimits& limits, const std::string& more = "") const {
    absl::StatusOr<std::unique_ptr<Database>> database =
        OpenPostgresDatabase(conninfo_ + more, limits);
    EXPECT_TRUE(database.ok()) << database.status();
    return database.ok() ? *std::move(database) : nullptr;
  }

  static std::string Ask(Database& database, const std::string& sql) {
    std::string answer;
    EXPECT_EQ(database.Read([&](SqlTransaction& transaction) -> absl::Status {
      POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows, transaction.Query(sql, {}));
      answer = rows.at(0).Text(0);
      return absl::OkStatus();
    }),
              absl::OkStatus());
    return answer;
  }

  std::string Counted(Database& database) const {
    return Ask(database, "SELECT CAST(value AS TEXT) FROM numbers");
  }

  PostgresServer* server_ = nullptr;
  std::string conninfo_;
};

// It says that it cannot now, and soon enough.
void ExpectUnavailable(const std::function<absl::Status()>& act, const std::string& words = "") {
  const absl::Time start = absl::Now();
  const absl::Status status = act();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  EXPECT_LT(absl::Now() - start, kBound) << status;
}

// A program of its own with the writers' lock.
class LockHolder {
 public:
  explicit LockHolder(const std::string& conninfo) : connection_(PQconnectdb(conninfo.c_str())) {
    for (const char* sql : {"BEGIN", "SELECT pg_advisory_xact_lock(7069632)"}) {
      PQclear(PQexec(connection_, sql));
    }
    EXPECT_EQ(PQtransactionStatus(connection_), PQTRANS_INTRANS) << PQerrorMessage(connection_);
  }
  LockHolder(const LockHolder&) = delete;
  LockHolder& operator=(const LockHolder&) = delete;
  ~LockHolder() { PQfinish(connection_); }

 private:
  PGconn* const connection_;
};

TEST_F(OutageTest, ALockThatAnotherKeepsIsNotWaitedForWithoutAnEnd) {
  const std::unique_ptr<Database> database = Open({.lock = absl::Milliseconds(200)});
  {
    const LockHolder holder(conninfo_);
    ExpectUnavailable([&] { return database->Write(Count); }, "another transaction");
    ExpectUnavailable([&] { return database->WriteAtLength(Count); }, "another transaction");
    EXPECT_EQ(Counted(*database), "0");
  }
  EXPECT_EQ(database->Write(Count), absl::OkStatus());
  EXPECT_EQ(Counted(*database), "1");
}

TEST_F(OutageTest, AControllerThatStopsInsideAWriteLosesTheLockAndWhatItWrote) {
  const std::unique_ptr<Database> stopped = Open({.idle_in_transaction = absl::Milliseconds(300)});
  const std::unique_ptr<Database> other = Open({});
  std::promise<void> wrote;
  std::promise<void> goes_on;
  std::future<absl::Status> end = std::async(std::launch::async, [&] {
    return stopped->Write([&](SqlTransaction& transaction) -> absl::Status {
      POSTERN_RETURN_IF_ERROR(
          transaction.Execute("UPDATE numbers SET value = value + 100", {}).status());
      wrote.set_value();
      goes_on.get_future().wait();
      return Count(transaction);
    });
  });
  wrote.get_future().wait();
  EXPECT_EQ(other->Write(Count), absl::OkStatus());
  goes_on.set_value();
  const absl::Status status = end.get();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("stood still"));
  EXPECT_EQ(Counted(*other), "1");
  EXPECT_EQ(stopped->Write(Count), absl::OkStatus());
}

TEST_F(OutageTest, AStatementThatTakesTooLongIsEnded) {
  const std::unique_ptr<Database> database = Open({.statement = absl::Milliseconds(200)});
  ExpectUnavailable(
      [&] {
        return database->Read([](SqlTransaction& transaction) {
          return transaction.Query("SELECT pg_sleep(60)", {}).status();
        });
      },
      "took too long");
  EXPECT_EQ(database->Write(Count), absl::OkStatus());
}

TEST_F(OutageTest, ChangingTablesMayTakeAsLongAsItDoes) {
  const std::unique_ptr<Database> database =
      Open({.silence = absl::Milliseconds(200), .statement = absl::Milliseconds(200)});
  EXPECT_EQ(database->WriteAtLength([](SqlTransaction& transaction) {
    return transaction.Query("SELECT pg_sleep(0.8)", {}).status();
  }),
            absl::OkStatus());
  EXPECT_EQ(Ask(*database, "SHOW statement_timeout"), "200ms");
}

TEST_F(OutageTest, WhatIsSetForTheConnectionTheRoleOrTheDatabaseStands) {
  const std::unique_ptr<Database> database =
      Open({}, " options='-c lock_timeout=1234 -c work_mem=5MB'");
  EXPECT_EQ(Ask(*database, "SHOW lock_timeout"), "1234ms");
  EXPECT_EQ(Ask(*database, "SHOW work_mem"), "5MB");
  EXPECT_EQ(Ask(*database, "SHOW statement_timeout"), "30s");
  EXPECT_EQ(Ask(*database, "SHOW idle_in_transaction_session_timeout"), "15s");
  const std::string name = conninfo_.substr(conninfo_.rfind('=') + 1);
  ASSERT_EQ(database->Write([&](SqlTransaction& transaction) -> absl::Status {
    for (const std::string& sql :
         {absl::StrCat("ALTER DATABASE ", name, " SET statement_timeout = '7s'"),
          absl::StrCat("ALTER ROLE postern IN DATABASE ", name, " SET lock_timeout = '8s'")}) {
      POSTERN_RETURN_IF_ERROR(transaction.Execute(sql, {}).status());
    }
    return absl::OkStatus();
  }),
            absl::OkStatus());
  const std::unique_ptr<Database> later = Open({});
  EXPECT_EQ(Ask(*later, "SHOW statement_timeout"), "7s");
  EXPECT_EQ(Ask(*later, "SHOW lock_timeout"), "8s");
}

TEST_F(OutageTest, AConnectionIsNotWaitedForWithoutAnEnd) {
  const std::unique_ptr<Database> database = Open({.pool = absl::Milliseconds(200)});
  constexpr int kConnections = 4;
  std::latch all_taken(kConnections);
  std::latch released(1);
  std::vector<std::thread> readers;
  for (int i = 0; i < kConnections; ++i) {
    readers.emplace_back([&] {
      EXPECT_EQ(database->Read([&](SqlTransaction&) {
        all_taken.count_down();
        released.wait();
        return absl::OkStatus();
      }),
                absl::OkStatus());
    });
  }
  all_taken.wait();
  ExpectUnavailable([&] { return database->Read(Nothing); }, "taken");
  released.count_down();
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(database->Read(Nothing), absl::OkStatus());
}

TEST_F(OutageTest, AServerThatStopsAnsweringIsGivenUpAndFoundAgain) {
  const std::unique_ptr<Database> database = Open(kLimits);
  ASSERT_EQ(database->Write(Count), absl::OkStatus());
  server_->Freeze();
  // Once by a connection that was good, once without one.
  for (int i = 0; i < 2; ++i) {
    ExpectUnavailable([&] { return database->Write(Count); });
  }
  server_->Thaw();
  EXPECT_EQ(database->Write(Count), absl::OkStatus());
  EXPECT_EQ(Counted(*database), "2");
}

TEST_F(OutageTest, AServerThatStopsAnsweringInATransactionHasNothingOfIt) {
  PostgresLimits limits = kLimits;
  limits.statement = absl::Seconds(1);
  const std::unique_ptr<Database> database = Open(limits);
  ExpectUnavailable(
      [&] {
        return database->Write([&](SqlTransaction& transaction) -> absl::Status {
          POSTERN_RETURN_IF_ERROR(Count(transaction));
          server_->Freeze();
          return Count(transaction);
        });
      },
      "does not answer");
  server_->Thaw();
  EXPECT_EQ(database->Write(Count), absl::OkStatus());
  EXPECT_EQ(Counted(*database), "1");
}

TEST_F(OutageTest, AListenerOfAServerThatStopsAnsweringCanBeEnded) {
  const std::unique_ptr<Database> database = Open(kLimits);
  server_->Freeze();
  const absl::Time start = absl::Now();
  {
    const std::unique_ptr<HintListener> listener = database->Listen([](const std::string&) {});
  }
  EXPECT_LT(absl::Now() - start, kBound);
  server_->Thaw();
}

TEST(SilentServerTest, ConnectingToWhatNeverAnswersEnds) {
  const Fd silent(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET,
                      .sin_port = 0,
                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                      .sin_zero = {}};
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(silent.get(), any, size), 0);
  ASSERT_EQ(listen(silent.get(), 8), 0);
  ASSERT_EQ(getsockname(silent.get(), any, &size), 0);
  const std::string conninfo =
      absl::StrCat("host=127.0.0.1 dbname=postern user=postern port=", ntohs(address.sin_port));
  ExpectUnavailable([&] { return OpenPostgresDatabase(conninfo, kLimits).status(); }, "timeout");
}

// Also what TLS has read from the socket already, for which nobody may wait there.
TEST(TlsServerTest, LongAnswersComeWhole) {
  absl::StatusOr<std::unique_ptr<PostgresServer>> server = PostgresServer::Start({.tls = true});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::unique_ptr<Database> database = *OpenPostgresDatabase(*(*server)->NewDatabase());
  const absl::Status status = database->Read([](SqlTransaction& transaction) -> absl::Status {
    for (const int64_t rows : {1, 10, 100, 1000, 10000}) {
      POSTERN_ASSIGN_OR_RETURN(
          const std::vector<SqlRow> answer,
          transaction.Query("SELECT repeat('x', 997) FROM generate_series(1, $1)", {rows}));
      EXPECT_EQ(answer.size(), static_cast<size_t>(rows));
    }
    POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> answer,
                             transaction.Query("SELECT length($1)", {std::string(3'000'000, 'y')}));
    EXPECT_EQ(answer[0].Int(0), 3'000'000);
    return absl::OkStatus();
  });
  EXPECT_EQ(status, absl::OkStatus());
}

}  // namespace
}  // namespace postern::controller
