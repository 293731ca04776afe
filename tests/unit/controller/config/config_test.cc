#include "controller/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

absl::StatusOr<Config> Parse(const std::string& text) {
  return ParseConfig(text, "controller.yaml", "/etc/postern");
}

TEST(ControllerConfigTest, TheShippedFileSaysTheDefaults) {
  const absl::StatusOr<Config> config = LoadConfig(SHIPPED_CONFIG);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, Config());
}

TEST(ControllerConfigTest, EveryKeyIsRead) {
  const absl::StatusOr<Config> config = Parse(R"(
rest:
  address: "192.0.2.1:443"
  public_url: https://postern.example.org
  tls: {cert: rest.pem, key: rest.key}
  client_ca: /ca.pem
agents: {address: "[2001:db8::1]:7000", certificate_lifetime: 1d}
names: [postern.example.org, 192.0.2.1]
authority: {cert: ca.pem, key: ca.key}
state_dir: /srv/postern
store: {postgres: "host=/run/postgresql dbname=postern"}
oidc:
  - {issuer: https://login.example.org, audience: postern, jwks: keys.json, principal: email}
audit: {keep: 400d}
)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rest.address.ToString(), "192.0.2.1");
  EXPECT_EQ(config->rest.port, 443);
  EXPECT_EQ(config->public_url, "https://postern.example.org");
  EXPECT_EQ(config->rest_certificate->cert, "/etc/postern/rest.pem");
  EXPECT_EQ(config->rest_client_ca, "/ca.pem");
  EXPECT_EQ(config->agents.port, 7000);
  EXPECT_EQ(config->agent_certificate_lifetime, absl::Hours(24));
  EXPECT_EQ(config->names.size(), 2u);
  EXPECT_EQ(config->authority->key, "/etc/postern/ca.key");
  EXPECT_EQ(config->state_dir, "/srv/postern");
  EXPECT_EQ(config->postgres, "host=/run/postgresql dbname=postern");
  ASSERT_EQ(config->oidc.size(), 1u);
  EXPECT_EQ(config->oidc[0].jwks, "/etc/postern/keys.json");
  EXPECT_EQ(config->oidc[0].principal_claim, "email");
  EXPECT_EQ(config->audit_keep, absl::Hours(400 * 24));
}

TEST(ControllerConfigTest, AConninfoMayBeAUriAndNameAPasswordFile) {
  for (const char* conninfo : {"postgresql://user@db/postern?passfile=/etc/postern/pgpass",
                               "host=db dbname=postern passfile=/etc/postern/password=file"}) {
    const absl::StatusOr<Config> config =
        Parse(absl::StrCat("store: {postgres: \"", conninfo, "\"}"));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->postgres, conninfo);
  }
}

TEST(ControllerConfigTest, AConninfoThatIsWrongIsNotRepeatedWhereItMayHoldAPassword) {
  for (const char* conninfo : {"password=open sesame", "postgresql://user:se%samet@db"}) {
    const absl::Status status =
        Parse(absl::StrCat("store: {postgres: \"", conninfo, "\"}")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("libpq"));
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("sesame")));
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("%sa")));
  }
}

struct Mistake {
  const char* text;
  const char* words;
};

TEST(ControllerConfigTest, EachMistakeIsNamedWithItsPlace) {
  for (const Mistake& mistake : std::vector<Mistake>{
           {"reste: {}", "did you mean \"rest\""},
           {"rest: {address: \"example.org:1\"}", "an address of this host"},
           {"rest: {address: \"192.0.2.1\"}", "rest.address"},
           {"rest: {public_url: http://a}", "https://HOST:PORT"},
           {"rest: {public_url: https://a/}", "without a slash"},
           {"rest: {tls: {cert: a}}", "needs \"key\""},
           {"agents: {certificate_lifetime: 5m}", "from 1h"},
           {"names: [\"a b\"]", "the name or the address"},
           {"store: {postgres: \"password=x\"}", "passfile"},
           {"store: {postgres: \"host=db password = 'x'\"}", "passfile"},
           {"store: {postgres: \"host=db sslpassword=x\"}", "passfile"},
           {"store: {postgres: \"postgresql://user:x@db/postern\"}", "passfile"},
           {"store: {postgres: \"postgres://db/postern?password=x\"}", "passfile"},
           {"store: {postgres: \"host=db nonsense=1\"}", "\"nonsense\""},
           {"store: {}", "needs \"postgres\""},
           {"oidc: [{issuer: a}]", "needs \"audience\""},
           {"oidc: [{issuer: a, audience: b, jwks: \"http://c\"}]", "https URL"},
           {"audit: {keep: 1h}", "from 1d"},
           {"rest: {address: \"[::]:7444\"}", "both have port 7444"},
       }) {
    const absl::Status status = Parse(mistake.text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << mistake.text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(mistake.words));
    EXPECT_THAT(std::string(status.message()), testing::StartsWith("controller.yaml:"));
  }
}

}  // namespace
}  // namespace postern::controller
