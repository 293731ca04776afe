// Policies: what is put, shown, changed meanwhile and taken away.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/store/requests.h"
#include "tests/unit/controller/service/fixture.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

TEST_P(ServiceTest, WhatThePolicyLosesEnds) {
  const Request ssh = Initiate("ana", 22, absl::Hours(1));
  const Request rdp = Initiate("ana", 3389, absl::Hours(1));
  Apply("web-1");
  PolicyChange change = WebPolicy();
  change.vms[0].ports.pop_back();
  ASSERT_TRUE(access_->PutPolicy(By("owner"), change).ok());
  EXPECT_EQ(Get(rdp.id).ports[0].reason, EndReason::kPolicyDeleted);
  EXPECT_EQ(Get(ssh.id).ports[0].status, PortStatus::kInitiated);

  const absl::StatusOr<bool> deleted = access_->DeletePolicy(By("owner"), WebPolicyId(), {});
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_TRUE(*deleted);
  EXPECT_EQ(Get(ssh.id).ports[0].reason, EndReason::kPolicyDeleted);
  EXPECT_FALSE(*access_->DeletePolicy(By("owner"), WebPolicyId(), {}));
}

TEST_P(ServiceTest, APolicyShowsTheRequestsOfSevenDays) {
  Initiate("ana", 22, absl::Hours(1));
  clock_.Advance(absl::Hours(24 * 6));
  Initiate("ben", 22, absl::Hours(1));
  absl::StatusOr<PolicyView> view = access_->GetPolicy(By("ana"), WebPolicyId());
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_THAT(view->requests, SizeIs(2));
  EXPECT_EQ(view->requests[0].requestor, "ben");
  clock_.Advance(absl::Hours(24 * 2));
  view = access_->GetPolicy(By("ana"), WebPolicyId());
  EXPECT_THAT(view->requests, SizeIs(1));
}

TEST_P(ServiceTest, AChangeOfAnotherVersionIsRefused) {
  const int64_t first = access_->GetPolicy(By("owner"), WebPolicyId())->policy.version;
  PolicyChange change = WebPolicy();
  change.precondition.match = Versions{.listed = {first + 100}};
  EXPECT_EQ(AzureCodeOf(access_->PutPolicy(By("owner"), change).status()), "PreconditionFailed");
  change.precondition.match = Versions{.listed = {first + 100, first}};
  const absl::StatusOr<PolicyView> changed = access_->PutPolicy(By("owner"), change);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_NE(changed->policy.version, first);
  change.precondition = {.none_match = Versions{.any = true}};
  EXPECT_FALSE(access_->PutPolicy(By("owner"), change).ok());
}

TEST_P(ServiceTest, APolicyThatIsMadeAgainIsAnotherVersion) {
  PolicyChange change = WebPolicy();
  std::set<int64_t> versions = {access_->GetPolicy(By("owner"), WebPolicyId())->policy.version};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 2; ++j) {
      EXPECT_TRUE(versions.insert(access_->PutPolicy(By("owner"), change)->policy.version).second);
    }
    ASSERT_TRUE(access_->DeletePolicy(By("owner"), WebPolicyId(), {}).ok());
  }
}

TEST_P(ServiceTest, AdditionsStayWhereAClientDoesNotKnowThem) {
  PolicyChange change = WebPolicy();
  change.additions = {.on_expiry = PolicyOnExpiry::kReset, .justification_required = true};
  ASSERT_TRUE(access_->PutPolicy(By("owner"), change).ok());
  ASSERT_TRUE(access_->PutPolicy(By("owner"), WebPolicy()).ok());
  EXPECT_EQ(access_->GetPolicy(By("owner"), WebPolicyId())->policy.additions, *change.additions);
}

TEST_P(ServiceTest, APolicyNamesOnlyVmsThatHaveJoined) {
  PolicyChange change = WebPolicy();
  change.vms[0].id = Vm("web-9");
  const absl::Status status = access_->PutPolicy(By("owner"), change).status();
  EXPECT_EQ(AzureCodeOf(status), "ResourceNotFound");
  EXPECT_THAT(std::string(status.message()), HasSubstr("join-token"));
}

// One answer holds the store for as long as it is made.
TEST_P(ServiceTest, APageOfPoliciesEndsWhereTheirRequestsAreMany) {
  PolicyChange other = WebPolicy();
  other.id.name = "other";
  ASSERT_TRUE(access_->PutPolicy(By("owner"), other).ok());
  const absl::Status status =
      store_->database().Write([&](SqlTransaction& transaction) -> absl::Status {
        for (int i = 0; i < 1000; ++i) {
          POSTERN_RETURN_IF_ERROR(InsertRequest(transaction,
                                                {.id = absl::StrCat("past-", i),
                                                 .policy = WebPolicyId(),
                                                 .requestor = "ana",
                                                 .start = clock_.Read().wall},
                                                {}, std::nullopt));
        }
        return absl::OkStatus();
      });
  ASSERT_EQ(status, absl::OkStatus());
  const absl::StatusOr<Page<PolicyView>> first = access_->ListPolicies(By("owner"), {}, "");
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_THAT(first->items, SizeIs(1));
  EXPECT_THAT(first->items[0].requests, SizeIs(1000));
  const absl::StatusOr<Page<PolicyView>> second =
      access_->ListPolicies(By("owner"), {}, first->next);
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_THAT(second->items, SizeIs(1));
  EXPECT_EQ(second->items[0].policy.id.name, "other");
  EXPECT_EQ(second->next, "");
}

}  // namespace
}  // namespace postern::controller
