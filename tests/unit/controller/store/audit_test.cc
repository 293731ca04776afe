#include "controller/store/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "controller/store/schema.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

class AuditTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(GetParam());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
  }

  void Append(int count) {
    for (int i = 0; i < count; ++i) {
      const absl::Status status =
          store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
            return AppendAudit(transaction, {.time = kStart + absl::Minutes(appended_),
                                             .operation = "write",
                                             .status = "Succeeded",
                                             .caller = absl::StrCat("user:", appended_ % 2),
                                             .target = "/Subscriptions/A",
                                             .correlation_id = "c",
                                             .detail = "{}"});
          });
      ASSERT_EQ(status, absl::OkStatus());
      ++appended_;
    }
  }

  void Execute(const std::string& sql) {
    const absl::Status status =
        store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
          return transaction.Execute(sql, {}).status();
        });
    ASSERT_EQ(status, absl::OkStatus());
  }

  // In parts of three rows.
  absl::Status Verify() {
    AuditCheck check;
    while (!check.done) {
      const absl::Status status =
          store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
            return VerifyAudit(transaction, 3, check);
          });
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  std::vector<AuditRow> List(const AuditQuery& query, size_t limit = 100) {
    std::vector<AuditRow> rows;
    const absl::Status status =
        store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
          POSTERN_ASSIGN_OR_RETURN(rows, ListAudit(transaction, query, limit));
          return absl::OkStatus();
        });
    EXPECT_EQ(status, absl::OkStatus());
    return rows;
  }

  std::unique_ptr<TestStore> store_;
  int appended_ = 0;
};

TEST_P(AuditTest, AnUntouchedChainIsWhole) {
  EXPECT_EQ(Verify(), absl::OkStatus());
  for (int rows = 1; rows < 8; ++rows) {
    Append(1);
    EXPECT_EQ(Verify(), absl::OkStatus()) << rows;
  }
}

struct Tampering {
  const char* sql;
  const char* words;
};

TEST_P(AuditTest, WhatWasTamperedWithIsFound) {
  for (const Tampering& tampering : std::vector<Tampering>{
           {"UPDATE audit SET caller = 'user:eve' WHERE number = 4", "row 4 has been changed"},
           {"UPDATE audit SET time_us = time_us + 1 WHERE number = 1", "row 1 has been changed"},
           {"DELETE FROM audit WHERE number = 5", "row 5 is missing"},
           {"DELETE FROM audit WHERE number = 7", "row 7 is missing"},
           {"DELETE FROM audit WHERE number = 1", "row 1 is missing"},
           {"UPDATE audit SET detail = '{\"a\":1}', hash = 'beef' WHERE number = 2",
            "row 2 has been changed"}}) {
    SetUp();
    appended_ = 0;
    Append(7);
    Execute(tampering.sql);
    const absl::Status status = Verify();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << tampering.sql;
    EXPECT_THAT(std::string(status.message()), HasSubstr(tampering.words));
  }
}

TEST_P(AuditTest, ReorderedRowsAreFound) {
  Append(5);
  Execute("UPDATE audit SET number = 100 WHERE number = 2");
  Execute("UPDATE audit SET number = 2 WHERE number = 3");
  Execute("UPDATE audit SET number = 3 WHERE number = 100");
  EXPECT_EQ(Verify().code(), absl::StatusCode::kDataLoss);
}

TEST_P(AuditTest, IsListedByWhatIsAsked) {
  Append(6);
  EXPECT_EQ(List({}).size(), 6u);
  EXPECT_EQ(List({}, 4).size(), 4u);
  EXPECT_EQ(List({.caller = "user:1"}).size(), 3u);
  EXPECT_EQ(List({.operation = "delete"}).size(), 0u);
  EXPECT_EQ(List({.target = "/subscriptions/a"}).size(), 6u);
  EXPECT_EQ(List({.target = "/subscriptions/ab"}).size(), 0u);
  EXPECT_EQ(List({.after = 4}).front().number, 5);
  EXPECT_EQ(List({.since = kStart + absl::Minutes(2), .until = kStart + absl::Minutes(4)}).size(),
            2u);
}

TEST_P(AuditTest, WhatIsTrimmedLeavesAWholeChain) {
  Append(6);
  int64_t trimmed = 0;
  ASSERT_EQ(store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(trimmed, TrimAudit(transaction, kStart + absl::Minutes(3), 100));
    return absl::OkStatus();
  }),
            absl::OkStatus());
  EXPECT_EQ(trimmed, 3);
  EXPECT_EQ(List({}).front().number, 4);
  EXPECT_EQ(Verify(), absl::OkStatus());
  Execute("DELETE FROM audit WHERE number = 4");
  EXPECT_EQ(Verify().code(), absl::StatusCode::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(Stores, AuditTest,
                         testing::Values(StoreKind::kSqlite, StoreKind::kPostgres),
                         [](const auto& test) { return StoreName(test.param); });

}  // namespace
}  // namespace postern::controller
