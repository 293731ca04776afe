#include "agent/app/ledger_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/grants.h"
#include "tests/support/temporary_directory.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class LedgerFileTest : public testing::Test {
 protected:
  absl::StatusOr<OpenedLedger> Open() { return OpenLedger(state_dir_, kNow); }

  // A ledger with one live grant, that nobody has open.
  void Make() {
    const absl::StatusOr<OpenedLedger> ledger = Open();
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    Grant grant;
    grant.id = Id(1);
    grant.sequence = 1;
    grant.sources = {P("203.0.113.7")};
    grant.ports = {Tcp(22)};
    Write write;
    write.put = grant;
    ASSERT_TRUE(ledger->store->Commit({write}).ok());
  }

  void RunSql(const char* sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((state_dir_ + "/ledger.db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
  }

  TemporaryDirectory files_;
  const std::string state_dir_ = files_.Path("state");
};

TEST_F(LedgerFileTest, ASoundLedgerIsOpenedAsItIs) {
  Make();
  const absl::StatusOr<OpenedLedger> ledger = Open();
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  EXPECT_EQ(ledger->replaced, "");
  EXPECT_THAT(ledger->store->Load()->live, SizeIs(1));
}

TEST_F(LedgerFileTest, ARowThatCannotBeReadSetsTheLedgerAside) {
  for (const char* damage :
       {"UPDATE grants SET sources = 'everywhere'", "UPDATE grants SET ports = '22/sctp'",
        "UPDATE grants SET on_expiry = 9", "DELETE FROM standing"}) {
    Make();
    RunSql(damage);
    {
      const absl::StatusOr<OpenedLedger> ledger = Open();
      ASSERT_TRUE(ledger.ok()) << ledger.status();
      const std::string aside = state_dir_ + "/ledger.db.damaged-20231114T221320Z";
      EXPECT_THAT(ledger->replaced, HasSubstr(aside)) << damage;
      EXPECT_TRUE(std::filesystem::exists(aside));
      EXPECT_THAT(ledger->store->Load()->live, IsEmpty());
    }
    {
      // A start that came to nothing has told nobody.
      const absl::StatusOr<OpenedLedger> again = Open();
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_THAT(again->replaced, HasSubstr("ledger.db.damaged-20231114T221320Z"));
      Write said;
      said.audit = AuditEvent();
      said.audit->number = 1;
      ASSERT_TRUE(again->store->Commit({said}).ok());
    }
    const absl::StatusOr<OpenedLedger> sound = Open();
    ASSERT_TRUE(sound.ok()) << sound.status();
    EXPECT_EQ(sound->replaced, "");
  }
}

TEST_F(LedgerFileTest, ANewerLedgerIsLeftAlone) {
  Make();
  RunSql("PRAGMA user_version = 99");
  EXPECT_TRUE(absl::IsFailedPrecondition(Open().status()));
  EXPECT_TRUE(std::filesystem::exists(state_dir_ + "/ledger.db"));
}

TEST_F(LedgerFileTest, AFolderThatCannotBeMadeIsToldWithTheWayOut) {
  files_.Write("state", "");
  const absl::Status status = Open().status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(state_dir_));
  EXPECT_THAT(std::string(status.message()), HasSubstr("name another in agent.yaml"));
}

}  // namespace
}  // namespace postern
