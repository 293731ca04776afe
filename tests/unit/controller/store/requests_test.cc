#include "controller/store/requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/store/schema.h"
#include "controller/store/vms.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr size_t kMany = 100;
constexpr char kOne[] = "aaaaaaaa-2222-3333-4444-555555555555";
constexpr char kTwo[] = "bbbbbbbb-2222-3333-4444-555555555555";
const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

PolicyId PolicyOf(const std::string& subscription, const std::string& group) {
  return {
      .subscription = subscription, .resource_group = group, .location = "west", .name = "default"};
}

class RequestsTest : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(GetParam());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
    Insert("a", PolicyOf(kOne, "Web"), "user:ana", PortStatus::kRevoked);
    Insert("b", PolicyOf(kOne, "Web"), "user:ben", PortStatus::kInitiated);
    Insert("c", PolicyOf(kOne, "db"), "user:ana", PortStatus::kPending);
    Insert("d", PolicyOf(kTwo, "Web"), "user:ana", PortStatus::kInitiating);
  }

  // Each a second after the one before.
  void Insert(const std::string& id, const PolicyId& policy, const std::string& requestor,
              PortStatus status) {
    const RequestedPort port = {.vm = {.subscription = policy.subscription,
                                       .resource_group = policy.resource_group,
                                       .name = "web-1"},
                                .number = 22,
                                .sources = {},
                                .duration = absl::Hours(1),
                                .status = status,
                                .grant_id = NewUuid()};
    const Request request = {.id = id,
                             .policy = policy,
                             .requestor = requestor,
                             .start = kStart + absl::Seconds(inserted_++),
                             .ports = {port}};
    const absl::Status status_of_write =
        store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
          return InsertRequest(transaction, request, {}, std::nullopt);
        });
    ASSERT_EQ(status_of_write, absl::OkStatus());
  }

  std::vector<std::string> Listed(const RequestFilter& filter, size_t limit = kMany) {
    std::vector<std::string> ids;
    const absl::Status status =
        store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
          POSTERN_ASSIGN_OR_RETURN(const std::vector<Request> requests,
                                   ListRequests(transaction, filter, limit));
          for (const Request& request : requests) {
            EXPECT_EQ(request.ports.size(), 1);
            ids.push_back(request.id);
          }
          return absl::OkStatus();
        });
    EXPECT_EQ(status, absl::OkStatus());
    return ids;
  }

  std::unique_ptr<TestStore> store_;
  int inserted_ = 0;
};

TEST_P(RequestsTest, AreListedByWhereAndByWhom) {
  EXPECT_THAT(Listed({}), ElementsAre("d", "c", "b", "a"));
  EXPECT_THAT(Listed({.where = {.subscription = absl::AsciiStrToUpper(kOne)}}),
              ElementsAre("c", "b", "a"));
  EXPECT_THAT(Listed({.where = {.resource_group = "web"}}), ElementsAre("d", "b", "a"));
  EXPECT_THAT(Listed({.where = {.subscription = kOne, .resource_group = "WEB"}}),
              ElementsAre("b", "a"));
  EXPECT_THAT(Listed({.where = {}, .requestor = "user:ana"}), ElementsAre("d", "c", "a"));
  EXPECT_THAT(Listed({.where = {.resource_group = "db"}, .requestor = "user:ben"}), IsEmpty());
}

TEST_P(RequestsTest, WhatIsNotOverIsListedAlone) {
  EXPECT_THAT(Listed({.where = {}, .live_at = kStart}), ElementsAre("d", "c", "b"));
  EXPECT_THAT(Listed({.where = {.subscription = kOne}, .live_at = kStart}), ElementsAre("c", "b"));
  EXPECT_THAT(
      Listed({.where = {.resource_group = "web"}, .requestor = "user:ana", .live_at = kStart}),
      ElementsAre("d"));
}

TEST_P(RequestsTest, AreListedInPages) {
  EXPECT_THAT(Listed({}, 2), ElementsAre("d", "c"));
  const absl::Time start_of_c = kStart + absl::Seconds(2);
  EXPECT_THAT(Listed({.where = {}, .before_start = start_of_c, .before_id = "c"}, 2),
              ElementsAre("b", "a"));
  // Of the same moment, the id decides.
  EXPECT_THAT(Listed({.where = {}, .before_start = start_of_c, .before_id = "d"}, 1),
              ElementsAre("c"));
  EXPECT_THAT(
      Listed({.where = {}, .live_at = kStart, .before_start = start_of_c, .before_id = "c"}),
      ElementsAre("b"));
}

TEST_P(RequestsTest, ThePortsOfAPolicyThatAreNotOver) {
  std::vector<std::string> ids;
  const absl::Status status =
      store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
        POSTERN_ASSIGN_OR_RETURN(const std::vector<PortRow> rows,
                                 LivePortsOfPolicy(transaction, PolicyOf(kOne, "Web").Key()));
        for (const PortRow& row : rows) ids.push_back(row.request_id);
        return absl::OkStatus();
      });
  EXPECT_EQ(status, absl::OkStatus());
  EXPECT_THAT(ids, ElementsAre("b"));
}

TEST_P(RequestsTest, TheHistoriesOfMoreVmsThanOneStatementTakes) {
  std::vector<std::string> keys;
  const absl::Status written =
      store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
        for (int i = 0; i < 250; ++i) {
          const VmRow vm = {.id = {.subscription = kOne,
                                   .resource_group = "Web",
                                   .name = absl::StrCat("web-", i)}};
          keys.push_back(vm.id.Key());
          if (i % 2 == 1) POSTERN_RETURN_IF_ERROR(PutVmRow(transaction, vm));
        }
        return transaction
            .Execute("UPDATE request_ports SET applied_us = $1 WHERE request_id IN ('a', 'b')",
                     {SqlValue(absl::ToUnixMicros(kStart))})
            .status();
      });
  ASSERT_EQ(written, absl::OkStatus());
  std::map<std::string, VmHistory> histories;
  const absl::Status read =
      store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
        POSTERN_ASSIGN_OR_RETURN(histories, HistoriesOfVms(transaction, keys, kStart));
        return absl::OkStatus();
      });
  ASSERT_EQ(read, absl::OkStatus());
  EXPECT_EQ(histories.size(), 125);
  const VmHistory& one = histories[keys[1]];
  EXPECT_EQ(one.requests, 2);
  EXPECT_EQ(one.last_access, kStart);
  EXPECT_THAT(one.last_user, HasSubstr("user:"));
  EXPECT_EQ(histories[keys[249]].requests, 0);
  EXPECT_EQ(histories[keys[249]].last_access, std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Stores, RequestsTest,
                         testing::Values(StoreKind::kSqlite, StoreKind::kPostgres),
                         [](const auto& test) { return StoreName(test.param); });

// Tells what SQLite makes of each statement.
class Explaining final : public SqlTransaction {
 public:
  explicit Explaining(SqlTransaction& transaction) : transaction_(transaction) {}

  absl::StatusOr<std::vector<SqlRow>> Query(absl::string_view sql,
                                            absl::Span<const SqlValue> values) override {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> plan,
                             transaction_.Query(absl::StrCat("EXPLAIN QUERY PLAN ", sql), values));
    for (const SqlRow& row : plan) absl::StrAppend(&plans_, row.Text(3), "\n");
    return transaction_.Query(sql, values);
  }
  absl::StatusOr<int64_t> Execute(absl::string_view sql,
                                  absl::Span<const SqlValue> values) override {
    return transaction_.Execute(sql, values);
  }
  absl::Status Hint(const std::string& text) override { return transaction_.Hint(text); }

  const std::string& plans() const { return plans_; }

 private:
  SqlTransaction& transaction_;
  std::string plans_;
};

class RequestPlansTest : public RequestsTest {
 protected:
  std::string PlanOf(const std::function<absl::Status(SqlTransaction&)>& read) {
    std::string plans;
    const absl::Status status =
        store_->database().Read([&](SqlTransaction& transaction) -> absl::Status {
          Explaining explaining(transaction);
          POSTERN_RETURN_IF_ERROR(read(explaining));
          plans = explaining.plans();
          return absl::OkStatus();
        });
    EXPECT_EQ(status, absl::OkStatus());
    return plans;
  }

  std::string PlanOf(const RequestFilter& filter) {
    return PlanOf([&filter](SqlTransaction& transaction) {
      return ListRequests(transaction, filter, kMany).status();
    });
  }
};

// A store holds years of requests: none of what people wait for may read them all.
TEST_P(RequestPlansTest, NoListReadsAllThatEverWas) {
  const Where group = {.subscription = kOne, .resource_group = "web"};
  for (const RequestFilter& filter : std::vector<RequestFilter>{
           {},
           {.where = group},
           {.where = {.subscription = kOne}},
           {.where = {.resource_group = "web"}},
           {.where = {}, .requestor = "user:ana"},
           {.where = group, .requestor = "user:ana"},
       }) {
    const std::string plan = PlanOf(filter);
    EXPECT_THAT(plan, Not(HasSubstr("SCAN"))) << plan;
    // Newest first as they come: a page ends the search.
    EXPECT_THAT(plan, HasSubstr("(start_us,request_id)<(?,?)")) << plan;
  }
}

TEST_P(RequestPlansTest, WhatIsLiveIsFoundFromThePorts) {
  const Where group = {.subscription = kOne, .resource_group = "web"};
  for (const RequestFilter& filter : std::vector<RequestFilter>{
           {.where = {}, .live_at = kStart},
           {.where = group, .requestor = "user:ana", .live_at = kStart},
       }) {
    const std::string plan = PlanOf(filter);
    EXPECT_THAT(plan, Not(HasSubstr("SCAN"))) << plan;
    EXPECT_THAT(plan, HasSubstr("request_ports_by_end (status=?)")) << plan;
    EXPECT_THAT(plan, Not(HasSubstr("start_us"))) << plan;
  }
  const std::string plan = PlanOf([](SqlTransaction& transaction) {
    return LivePortsOfPolicy(transaction, PolicyOf(kOne, "web").Key()).status();
  });
  EXPECT_THAT(plan, HasSubstr("request_ports_by_end (status=?)")) << plan;
  EXPECT_THAT(plan, Not(HasSubstr("requests_by_policy"))) << plan;
}

TEST_P(RequestPlansTest, TheHistoryOfAVmIsReadAsFarAsItIsShown) {
  const std::string plan = PlanOf([](SqlTransaction& transaction) {
    return HistoriesOfVms(transaction, {"a", "b"}, kStart).status();
  });
  EXPECT_THAT(plan, Not(HasSubstr("SCAN"))) << plan;
  EXPECT_THAT(plan, HasSubstr("COVERING INDEX request_ports_by_use (vm_key=? AND applied_us>?)"))
      << plan;
}

INSTANTIATE_TEST_SUITE_P(Sqlite, RequestPlansTest, testing::Values(StoreKind::kSqlite),
                         [](const auto& test) { return StoreName(test.param); });

}  // namespace
}  // namespace postern::controller
