#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/pki/digest.h"
#include "controller/domain/error.h"
#include "tests/unit/controller/service/fixture.h"

namespace postern::controller {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST_P(ServiceTest, TheLastOwnerStays) {
  const RoleAssignment last = {
      .principal = "owner", .role = BuiltInRole::kOwner, .scope = *Scope::Parse("/")};
  EXPECT_EQ(AzureCodeOf(access_->RemoveRole(By("owner"), last)), "LastOwner");
  Assign("cat", BuiltInRole::kOwner, "/");
  EXPECT_EQ(access_->RemoveRole(By("owner"), last), absl::OkStatus());
}

TEST_P(ServiceTest, WhoeverHasTheHostMakesATokenForAnybody) {
  Assign("cat", BuiltInRole::kOwner, "/");
  const absl::StatusOr<NewAccessToken> made =
      access_->CreateAccessTokenOnHost("cat", absl::Hours(1));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->token.created_by, "postern-controller");
  EXPECT_EQ(Audit("Postern/tokens/write")[0].caller, "postern-controller");
}

// What the controller does by itself is told apart from what anybody does.
TEST_P(ServiceTest, NobodyIsCalledWhatTheControllerIs) {
  EXPECT_FALSE(access_->CreateAccessToken(By("owner"), kController, absl::Hours(1)).ok());
  EXPECT_FALSE(access_->CreateAccessTokenOnHost(kController, absl::Hours(1)).ok());
  EXPECT_FALSE(access_->AssignRole(By("owner"), {.principal = kController}).ok());
}

TEST_P(ServiceTest, OnlyTheFirstOwnerIsMadeByItself) {
  const absl::StatusOr<std::optional<NewAccessToken>> again = access_->MakeFirstOwner("eve");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->has_value());
}

TEST_P(ServiceTest, ASecretIsNotKept) {
  const absl::StatusOr<NewAccessToken> made =
      access_->CreateAccessToken(By("owner"), "ci", absl::Hours(24));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->token.secret_hash, Sha256Hex(made->secret));
  for (const AuditRow& row : Audit()) {
    EXPECT_EQ(row.detail.find(made->secret), std::string::npos);
    EXPECT_EQ(row.detail.find(made->token.secret_hash), std::string::npos);
  }
}

TEST_P(ServiceTest, ARoleThatIsTakenAwayIsGoneAtOnce) {
  const RoleAssignment role = {
      .principal = "cleo", .role = BuiltInRole::kReader, .scope = Scope::Of(Vm("web-1"))};
  ASSERT_EQ(access_->AssignRole(By("owner"), role), absl::OkStatus());
  EXPECT_TRUE(access_->GetVm(By("cleo"), Vm("web-1")).ok());
  EXPECT_THAT(*access_->ListRoles(By("cleo")), SizeIs(1));
  ASSERT_EQ(access_->RemoveRole(By("owner"), role), absl::OkStatus());
  EXPECT_FALSE(access_->GetVm(By("cleo"), Vm("web-1")).ok());
  EXPECT_EQ(access_->RemoveRole(By("owner"), role).code(), absl::StatusCode::kNotFound);
}

TEST_P(ServiceTest, SubscriptionsAreThoseOfTheCallersRoles) {
  constexpr char kOther[] = "99999999-2222-3333-4444-555555555555";
  const std::string here = Vm("web-1").subscription;
  EXPECT_THAT(*access_->ListSubscriptions(By("owner")), ElementsAre(here));
  EXPECT_THAT(*access_->ListSubscriptions(By("eve")), IsEmpty());
  Assign("cleo", BuiltInRole::kReader, Vm("web-1").ToString());
  EXPECT_THAT(*access_->ListSubscriptions(By("cleo")), ElementsAre(here));
  Assign("cleo", BuiltInRole::kReader, absl::StrCat("/subscriptions/", kOther));
  EXPECT_THAT(*access_->ListSubscriptions(By("cleo")), ElementsAre(here, kOther));
  // Nothing is there yet.
  EXPECT_THAT(*access_->ListSubscriptions(By("owner")), ElementsAre(here));
}

TEST_P(ServiceTest, JoinTokensStayWithinTheirBounds) {
  const Scope vm = Scope::Of(Vm("db-1"));
  const Scope group = {.subscription = vm.subscription, .resource_group = "web"};
  const Scope subscription = {.subscription = vm.subscription};
  const Caller owner = By("owner");
  EXPECT_FALSE(access_->CreateJoinToken(owner, subscription, "west", 1, absl::Hours(1)).ok());
  EXPECT_FALSE(access_->CreateJoinToken(owner, group, "west", 0, absl::Hours(1)).ok());
  EXPECT_FALSE(access_->CreateJoinToken(owner, vm, "west", 2, absl::Hours(1)).ok());
  EXPECT_FALSE(access_->CreateJoinToken(owner, vm, "", 1, absl::Hours(1)).ok());
  EXPECT_FALSE(access_->CreateJoinToken(owner, vm, "west", 1, absl::ZeroDuration()).ok());
  EXPECT_FALSE(access_->CreateJoinToken(owner, vm, "west", 1, absl::Hours(24 * 366)).ok());
}

TEST_P(ServiceTest, TextThatIsMadeToBeSqlIsText) {
  const std::string principal = "'; DELETE FROM roles; --";
  ASSERT_EQ(access_->AssignRole(By("owner"), {.principal = principal,
                                              .role = BuiltInRole::kReader,
                                              .scope = Scope::Of(Vm("web-1"))}),
            absl::OkStatus());
  EXPECT_TRUE(access_->GetVm(By(principal), Vm("web-1")).ok());
  EXPECT_THAT(*access_->ListRoles(By("owner")), Not(IsEmpty()));
  EXPECT_FALSE(access_->GetVm(By("x' OR '1'='1"), Vm("web-1")).ok());
}

}  // namespace
}  // namespace postern::controller
