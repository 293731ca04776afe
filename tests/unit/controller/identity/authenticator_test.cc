#include "controller/identity/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/service/access_service.h"
#include "controller/store/schema.h"
#include "tests/fakes/fake_clock.h"
#include "tests/support/controller_stores.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

class AuthenticatorTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<TestStore>> store = TestStore::Make(StoreKind::kSqlite);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ASSERT_EQ(Migrate(store_->database()), absl::OkStatus());
    AccessService access(store_->database(), clock_, [](const std::vector<std::string>&) {});
    const absl::StatusOr<std::optional<NewAccessToken>> owner = access.MakeFirstOwner("user:owner");
    ASSERT_TRUE(owner.ok() && owner->has_value());
    token_ = (*owner)->secret;
    authenticator_ = std::make_unique<Authenticator>(store_->database(), issuers_, clock_);
  }

  // The principal, or why there is none.
  std::string Ask(const std::string& authorization, const std::vector<std::string>& uris = {}) {
    const absl::StatusOr<std::string> principal = authenticator_->Authenticate(authorization, uris);
    if (principal.ok()) return *principal;
    EXPECT_EQ(principal.status().code(), absl::StatusCode::kUnauthenticated);
    return absl::StrCat("refused: ", principal.status().message());
  }

  FakeClock clock_;
  TrustedIssuers issuers_{{}, clock_, FetchKeys, [](const std::string&) {}};
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<Authenticator> authenticator_;
  std::string token_;
};

TEST_F(AuthenticatorTest, ATokenIsWhoItWasMadeFor) {
  EXPECT_EQ(Ask(absl::StrCat("Bearer ", token_)), "user:owner");
  EXPECT_EQ(Ask(absl::StrCat("bearer  ", token_, " ")), "user:owner");
}

TEST_F(AuthenticatorTest, NothingLessThanTheTokenIs) {
  const std::string shorter = token_.substr(0, token_.size() - 1);
  for (const std::string& authorization :
       {std::string(), std::string("Bearer"), std::string("Bearer "), token_,
        absl::StrCat("Basic ", token_), absl::StrCat("Bearer ", shorter),
        absl::StrCat("Bearer ", token_, "x"), absl::StrCat("Bearer ", token_, " ", token_),
        absl::StrCat("Bearer ", std::string(9000, 'a'))}) {
    EXPECT_THAT(Ask(authorization), HasSubstr("refused")) << authorization.substr(0, 40);
  }
}

TEST_F(AuthenticatorTest, ACertificateIsItsFirstUri) {
  EXPECT_EQ(Ask("", {"spiffe://example.org/ci", "spiffe://example.org/other"}),
            "cert:spiffe://example.org/ci");
}

TEST_F(AuthenticatorTest, AWrongTokenIsNotMendedByACertificate) {
  EXPECT_THAT(Ask("Bearer postern-wrong", {"spiffe://example.org/ci"}), HasSubstr("refused"));
  EXPECT_EQ(Ask(absl::StrCat("Bearer ", token_), {"spiffe://example.org/ci"}), "user:owner");
}

TEST_F(AuthenticatorTest, ATokenOfNoTrustedIssuerIsRefused) {
  EXPECT_THAT(Ask("Bearer e30.e30.e30"), HasSubstr("controller.yaml"));
}

}  // namespace
}  // namespace postern::controller
