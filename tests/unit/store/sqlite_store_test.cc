#include "agent/store/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Grant FullGrant(int n) {
  Grant grant;
  grant.id = Id(n);
  grant.sequence = n;
  grant.sources = {P("203.0.113.7"), P("2001:db8::/64")};
  grant.earlier_sources = {P("198.51.100.9"), P("2001:db8:1::/48")};
  grant.ports = {Tcp(22), Any(3389)};
  grant.duration = absl::Hours(1) + absl::Nanoseconds(1);
  grant.not_after = absl::FromUnixNanos(1'800'000'000'123'456'789);
  grant.requestor = "alice";
  grant.justification = std::string("a 'quoted' \0 word, \xe2\x82\xac", 22);
  grant.on_expiry = OnExpiry::kReset;
  grant.created_by = "spiffe://example.org/controller";
  grant.request_fingerprint = "f00d";
  grant.start = absl::FromUnixNanos(1'700'000'000'000'000'001);
  grant.end = absl::FromUnixNanos(1'700'000'000'000'000'002);
  grant.deadline = BootTime(absl::Nanoseconds(3));
  grant.boot_id = "b007";
  grant.usage = {.packets = 4, .bytes = 5, .first_used = grant.start, .last_used = grant.end};
  return grant;
}

AuditEvent FullEvent(uint64_t number) {
  return {.number = number,
          .time = absl::FromUnixSeconds(1'700'000'000 + static_cast<int64_t>(number)),
          .kind = AuditKind::kGrantRevoked,
          .actor = "local",
          .grant_id = Id(1),
          .requestor = "alice",
          .sources = {P("203.0.113.7")},
          .ports = {Tcp(22)},
          .end = absl::FromUnixSeconds(1'700'000'000),
          .detail = "no longer needed"};
}

Write PutWrite(const Grant& grant) {
  return {.put = grant, .erase = std::nullopt, .audit = std::nullopt};
}
Write AuditWrite(const AuditEvent& event) {
  return {.put = std::nullopt, .erase = std::nullopt, .audit = event};
}

class SqliteStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = absl::StrCat(::testing::TempDir(), "postern-store-XXXXXX");
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = absl::StrCat(directory_, "/ledger.db");
    Reopen();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Reopen() {
    store_.reset();
    absl::StatusOr<std::unique_ptr<SqliteStore>> store = SqliteStore::Open(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  // Makes the ledger one of the schema before the last.
  static std::string WithoutClock() {
    return "ALTER TABLE standing DROP COLUMN clock_boot_id;"
           "ALTER TABLE standing DROP COLUMN clock_began_ns; PRAGMA user_version = 4;";
  }
  void RunSql(const std::string& sql) {
    store_.reset();
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
  }

  std::string directory_;
  std::string path_;
  std::unique_ptr<SqliteStore> store_;
};

TEST_F(SqliteStoreTest, EveryFieldSurvivesAReopening) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1)), AuditWrite(FullEvent(1))}).ok());
  Reopen();
  const absl::StatusOr<StoredState> state = store_->Load();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_THAT(state->live, ElementsAre(FullGrant(1)));
  EXPECT_EQ(state->last_sequence, 1);
  EXPECT_EQ(state->last_audit_number, 1U);
  EXPECT_EQ(**store_->FindGrant(Id(1)), FullGrant(1));
  EXPECT_THAT(*store_->ListAudit(0, absl::InfinitePast(), 10), ElementsAre(FullEvent(1)));
}

TEST_F(SqliteStoreTest, EndedGrantsAreFoundAndNotLoaded) {
  Grant grant = FullGrant(1);
  ASSERT_TRUE(store_->Commit({PutWrite(grant)}).ok());
  grant.state = GrantState::kRevoked;
  grant.end_cause = "revoked by bob";
  ASSERT_TRUE(store_->Commit({PutWrite(grant)}).ok());
  EXPECT_THAT(store_->Load()->live, IsEmpty());
  EXPECT_EQ(**store_->FindGrant(Id(1)), grant);
  EXPECT_THAT(*store_->ListGrants(0, 10, false), IsEmpty());
  EXPECT_THAT(*store_->ListGrants(0, 10, true), ElementsAre(grant));
}

TEST_F(SqliteStoreTest, AFailedTransactionLeavesNothing) {
  ASSERT_TRUE(store_->Commit({AuditWrite(FullEvent(1))}).ok());
  // The second event's number is taken.
  EXPECT_FALSE(store_->Commit({PutWrite(FullGrant(1)), AuditWrite(FullEvent(1))}).ok());
  EXPECT_EQ(*store_->FindGrant(Id(1)), std::nullopt);
  EXPECT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
}

TEST_F(SqliteStoreTest, ErasesWhatIsTakenBack) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
  ASSERT_TRUE(store_->Commit({{.put = std::nullopt, .erase = Id(1), .audit = {}}}).ok());
  EXPECT_EQ(*store_->FindGrant(Id(1)), std::nullopt);
}

TEST_F(SqliteStoreTest, ListsInPages) {
  for (int n = 1; n <= 5; ++n) {
    ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(n)), AuditWrite(FullEvent(n))}).ok());
  }
  EXPECT_THAT(*store_->ListGrants(1, 2, true), ElementsAre(FullGrant(2), FullGrant(3)));
  EXPECT_THAT(*store_->ListGrants(4, 2, false), ElementsAre(FullGrant(5)));
  EXPECT_THAT(*store_->ListAudit(3, absl::InfinitePast(), 10),
              ElementsAre(FullEvent(4), FullEvent(5)));
  EXPECT_THAT(*store_->ListAudit(0, FullEvent(5).time, 10), ElementsAre(FullEvent(5)));
}

TEST_F(SqliteStoreTest, EventsSinceATimeAreFoundWhateverTheClockDid) {
  const absl::Time start = FullEvent(0).time;
  // Set back after the third.
  const int seconds[] = {10, 20, 30, 5, 15, 25};
  for (uint64_t number = 1; number <= 6; ++number) {
    AuditEvent event = FullEvent(number);
    event.time = start + absl::Seconds(seconds[number - 1]);
    ASSERT_TRUE(store_->Commit({AuditWrite(event)}).ok());
  }
  const auto since = [&](int second, uint64_t after = 0) {
    std::vector<uint64_t> numbers;
    const auto events = store_->ListAudit(after, start + absl::Seconds(second), 10);
    EXPECT_TRUE(events.ok()) << events.status();
    for (const AuditEvent& event : *events) {
      numbers.push_back(event.number);
    }
    return numbers;
  };
  EXPECT_THAT(since(0), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(since(10), ElementsAre(1, 2, 3, 5, 6));
  EXPECT_THAT(since(20), ElementsAre(2, 3, 6));
  EXPECT_THAT(since(20, 2), ElementsAre(3, 6));
  EXPECT_THAT(since(31), IsEmpty());
}

TEST_F(SqliteStoreTest, SessionsArePendingUntilTheyAreSaidToBeEnded) {
  Grant one = FullGrant(1);
  one.state = GrantState::kRevoked;
  one.sessions_pending = true;
  Grant two = FullGrant(2);
  two.state = GrantState::kRevoked;
  two.sessions_pending = true;
  ASSERT_TRUE(store_->Commit({PutWrite(one), PutWrite(two)}).ok());
  Write ended;
  ended.sessions_ended = {Id(1), Id(7)};
  ASSERT_TRUE(store_->Commit({ended}).ok());
  Reopen();
  EXPECT_THAT(store_->Load()->sessions_pending, ElementsAre(two));
  EXPECT_FALSE((*store_->FindGrant(Id(1)))->sessions_pending);
}

TEST_F(SqliteStoreTest, ALedgerOfTheSecondSchemaIsTakenOver) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1)), AuditWrite(FullEvent(1))}).ok());
  RunSql(WithoutClock() +
         "ALTER TABLE grants DROP COLUMN earlier_sources;"
         "DROP INDEX pending_sessions; DROP INDEX audit_times;"
         "ALTER TABLE grants DROP COLUMN sessions_pending; PRAGMA user_version = 2");
  Reopen();
  Grant taken_over = FullGrant(1);
  taken_over.earlier_sources.clear();
  EXPECT_THAT(store_->Load()->live, ElementsAre(taken_over));
  EXPECT_THAT(*store_->ListAudit(0, FullEvent(1).time, 10), ElementsAre(FullEvent(1)));
}

TEST_F(SqliteStoreTest, ALedgerOfTheThirdSchemaIsTakenOver) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
  RunSql(WithoutClock() +
         "ALTER TABLE grants DROP COLUMN earlier_sources; PRAGMA user_version = 3");
  Reopen();
  Grant taken_over = FullGrant(1);
  taken_over.earlier_sources.clear();
  EXPECT_THAT(store_->Load()->live, ElementsAre(taken_over));
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
  EXPECT_EQ(**store_->FindGrant(Id(1)), FullGrant(1));
}

TEST_F(SqliteStoreTest, ALedgerOfTheFourthSchemaIsTakenOver) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
  RunSql(WithoutClock());
  Reopen();
  EXPECT_THAT(store_->Load()->live, ElementsAre(FullGrant(1)));
  EXPECT_EQ(store_->Load()->clock, std::nullopt);
}

TEST_F(SqliteStoreTest, TheClocksAreReadBack) {
  EXPECT_EQ(store_->Load()->clock, std::nullopt);
  Write write;
  write.clock = BootClock{.boot_id = "b0", .began = absl::FromUnixNanos(1'700'000'000'123'456'789)};
  ASSERT_TRUE(store_->Commit({write}).ok());
  Reopen();
  EXPECT_EQ(store_->Load()->clock, write.clock);
}

TEST_F(SqliteStoreTest, OnlyTheOwnerMayRead) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    struct stat status {};
    ASSERT_EQ(stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0U) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 2);
}

TEST_F(SqliteStoreTest, ASecondDaemonIsRefused) {
  ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
  EXPECT_FALSE(SqliteStore::Open(path_).ok());
}

TEST_F(SqliteStoreTest, ANewerSchemaIsRefusedUntouched) {
  RunSql("PRAGMA user_version = 99");
  const absl::Status status = SqliteStore::Open(path_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("schema version 99"));
}

TEST_F(SqliteStoreTest, ADamagedFileIsDataLossAndKept) {
  store_.reset();
  std::ofstream(path_, std::ios::trunc) << std::string(8192, 'x');
  EXPECT_TRUE(absl::IsDataLoss(SqliteStore::Open(path_).status()));
  EXPECT_EQ(std::filesystem::file_size(path_), 8192U);
}

TEST_F(SqliteStoreTest, ARowThatCannotBeReadIsDataLossNotAGrant) {
  for (const char* damage :
       {"sources = 'everywhere'", "earlier_sources = '1'", "ports = 'all'", "on_expiry = 3",
        "on_expiry = -1", "state = 4, sessions_pending = 1"}) {
    ASSERT_TRUE(store_->Commit({PutWrite(FullGrant(1))}).ok());
    RunSql(absl::StrCat("UPDATE grants SET ", damage));
    Reopen();
    EXPECT_TRUE(absl::IsDataLoss(store_->Load().status())) << damage;
    EXPECT_TRUE(absl::IsDataLoss(store_->FindGrant(Id(1)).status())) << damage;
  }
}

}  // namespace
}  // namespace postern
