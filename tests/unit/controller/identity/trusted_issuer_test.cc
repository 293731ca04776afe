#include "controller/identity/trusted_issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/identity/trusted_issuers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/support/certificates.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/controller/identity/signer.h"

namespace postern::controller {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::json;

class TrustedIssuerTest : public testing::Test {
 protected:
  int64_t Seconds(absl::Duration from_now) {
    return absl::ToUnixSeconds(clock_.Read().wall + from_now);
  }
  Json Claims() {
    return {{"iss", "https://login.example.org"},
            {"aud", "postern"},
            {"sub", "ana"},
            {"exp", Seconds(absl::Hours(1))}};
  }
  absl::StatusOr<std::string> PrincipalOf(const Json& claims) {
    return issuer_.PrincipalOf(signer_.Sign("ES256", claims.dump()), clock_.Read());
  }
  BootTime Refresh() { return issuer_.Refresh(clock_.Read().boot); }

  FakeClock clock_;
  const Signer signer_ = Signer::Ec("one");
  absl::StatusOr<std::string> keys_ = KeysOf({signer_});
  int fetched_ = 0;
  std::vector<std::string> problems_;
  TrustedIssuer issuer_{{.issuer = "https://login.example.org",
                         .audience = "postern",
                         .jwks = "https://login.example.org/keys"},
                        [this] {
                          ++fetched_;
                          return keys_;
                        },
                        [this](const std::string& problem) { problems_.push_back(problem); }};
};

TEST_F(TrustedIssuerTest, NamesTheCallerAndTheIssuer) {
  Refresh();
  const absl::StatusOr<std::string> principal = PrincipalOf(Claims());
  ASSERT_TRUE(principal.ok()) << principal.status();
  EXPECT_EQ(*principal, "ana@login.example.org");
}

struct Change {
  Json claims;
  const char* words;
};

TEST_F(TrustedIssuerTest, EachClaimHasToBeRight) {
  Refresh();
  for (const Change& change : std::vector<Change>{
           {{{"iss", "https://login.example.org/"}}, "not for this controller"},
           {{{"iss", nullptr}}, "not for this controller"},
           {{{"iss", Json::array({"https://login.example.org"})}}, "not for this controller"},
           {{{"aud", "posterns"}}, "not for this controller"},
           {{{"aud", nullptr}}, "not for this controller"},
           {{{"aud", Json::array()}}, "not for this controller"},
           {{{"aud", Json::array({"a", Json::array({"postern"})})}}, "not for this controller"},
           {{{"exp", nullptr}}, "no end"},
           {{{"exp", absl::StrCat(Seconds(absl::Hours(1)))}}, "no end"},
           {{{"exp", Seconds(-absl::Seconds(60))}}, "over"},
           {{{"exp", -1e300}}, "over"},
           {{{"nbf", Seconds(absl::Seconds(61))}}, "not good yet"},
           {{{"nbf", 1e300}}, "not good yet"},
           {{{"nbf", "soon"}}, "not for this controller"},
           {{{"sub", nullptr}}, "names nobody"},
           {{{"sub", ""}}, "names nobody"},
           {{{"sub", 7}}, "names nobody"},
           {{{"sub", "a\nb"}}, "names nobody"},
           {{{"sub", std::string(300, 'a')}}, "names nobody"},
       }) {
    Json claims = Claims();
    claims.merge_patch(change.claims);
    const absl::Status status = PrincipalOf(claims).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << claims;
    EXPECT_THAT(std::string(status.message()), HasSubstr(change.words)) << claims;
  }
}

TEST_F(TrustedIssuerTest, ClocksMayDifferByAMinute) {
  Refresh();
  for (const Json& change :
       {Json{{"exp", Seconds(-absl::Seconds(59))}}, Json{{"nbf", Seconds(absl::Seconds(60))}},
        Json{{"exp", 1e300}}, Json{{"aud", Json::array({"other", "postern"})}}}) {
    Json claims = Claims();
    claims.merge_patch(change);
    EXPECT_TRUE(PrincipalOf(claims).ok()) << claims;
  }
}

TEST_F(TrustedIssuerTest, WithoutKeysNobodyIsBelievedNorRefused) {
  EXPECT_EQ(PrincipalOf(Claims()).status().code(), absl::StatusCode::kUnavailable);
  keys_ = absl::UnavailableError("connecting: refused");
  Refresh();
  EXPECT_EQ(PrincipalOf(Claims()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(problems_, ElementsAre(HasSubstr("connecting: refused")));
}

TEST_F(TrustedIssuerTest, KeysAreKeptForADayWhileTheyCannotBeRead) {
  Refresh();
  keys_ = "no keys";
  Json claims = Claims();
  claims["exp"] = Seconds(absl::Hours(100));
  clock_.Advance(TrustedIssuer::kKeysLast);
  Refresh();
  EXPECT_TRUE(PrincipalOf(claims).ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(PrincipalOf(claims).status().code(), absl::StatusCode::kUnavailable);
  keys_ = KeysOf({signer_});
  clock_.Advance(absl::Minutes(1));
  Refresh();
  EXPECT_TRUE(PrincipalOf(claims).ok());
}

TEST_F(TrustedIssuerTest, OneReasonIsToldOnce) {
  keys_ = absl::UnavailableError("no route");
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Minutes(1));
    Refresh();
  }
  EXPECT_EQ(fetched_, 3);
  EXPECT_EQ(problems_.size(), 1u);
  keys_ = absl::UnavailableError("no name");
  clock_.Advance(absl::Minutes(1));
  Refresh();
  EXPECT_EQ(problems_.size(), 2u);
}

TEST_F(TrustedIssuerTest, KeysAreReadAgainWhereOneIsMissedButNotForEachStranger) {
  Refresh();
  clock_.Advance(absl::Seconds(59));
  Refresh();
  EXPECT_EQ(fetched_, 1);
  const Signer next = Signer::Ec("next");
  keys_ = KeysOf({signer_, next});
  const std::string token = next.Sign("ES256", Claims().dump());
  EXPECT_EQ(issuer_.PrincipalOf(token, clock_.Read()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Refresh(), clock_.Read().boot + absl::Seconds(1));
  EXPECT_EQ(fetched_, 1);
  clock_.Advance(absl::Seconds(1));
  Refresh();
  EXPECT_EQ(fetched_, 2);
  EXPECT_TRUE(issuer_.PrincipalOf(token, clock_.Read()).ok());
}

TEST_F(TrustedIssuerTest, AKeyThatTheIssuerTookOutIsNoneFromThenOn) {
  Refresh();
  EXPECT_TRUE(PrincipalOf(Claims()).ok());
  keys_ = KeysOf({Signer::Ec("next")});
  clock_.Advance(absl::Minutes(15));
  Refresh();
  EXPECT_EQ(PrincipalOf(Claims()).status().code(), absl::StatusCode::kNotFound);
}

TEST(TrustedIssuersTest, EachTokenIsItsOwnIssuers) {
  FakeClock clock;
  const TemporaryDirectory directory;
  const Signer one = Signer::Ec("key");
  const Signer two = Signer::Ec("key");
  directory.Write("one.json", KeysOf({one}));
  directory.Write("two.json", KeysOf({two}));
  TrustedIssuers issuers({{.issuer = "https://one.example.org",
                           .audience = "postern",
                           .jwks = directory.Path("one.json")},
                          {.issuer = "https://two.example.org/tenant",
                           .audience = "postern",
                           .jwks = directory.Path("two.json"),
                           .principal_claim = "email"}},
                         clock, FetchKeys, [](const std::string& problem) { FAIL() << problem; });
  const auto ask = [&](const Signer& signer, const std::string& issuer) {
    const Json claims = {{"iss", issuer},
                         {"aud", "postern"},
                         {"sub", "ana"},
                         {"email", "ana@example.org"},
                         {"exp", absl::ToUnixSeconds(clock.Read().wall) + 60}};
    const std::string token = signer.Sign("ES256", claims.dump());
    absl::StatusOr<std::string> principal = issuers.PrincipalOf(token);
    const absl::Time patience = absl::Now() + absl::Seconds(20);
    // The keys are read by another thread.
    while (absl::IsUnavailable(principal.status()) && absl::Now() < patience) {
      absl::SleepFor(absl::Milliseconds(1));
      principal = issuers.PrincipalOf(token);
    }
    return principal.ok() ? *principal : std::string(principal.status().message());
  };
  EXPECT_EQ(ask(one, "https://one.example.org"), "ana@one.example.org");
  EXPECT_EQ(ask(two, "https://two.example.org/tenant"), "ana@example.org@two.example.org/tenant");
  EXPECT_THAT(ask(one, "https://two.example.org/tenant"), HasSubstr("signature"));
  EXPECT_THAT(ask(one, "https://three.example.org"), HasSubstr("controller.yaml"));
  EXPECT_THAT(ask(Signer::Ec("new"), "https://one.example.org"), HasSubstr("asked again"));
}

}  // namespace
}  // namespace postern::controller
