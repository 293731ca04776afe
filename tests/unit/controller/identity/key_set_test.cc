#include "controller/identity/key_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/unit/controller/identity/signer.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kPayload[] = R"({"sub":"ana"})";

KeySet Parse(const std::string& json) {
  absl::StatusOr<KeySet> keys = KeySet::Parse(json);
  EXPECT_TRUE(keys.ok()) << keys.status();
  return *std::move(keys);
}

TEST(KeySetTest, TakesEachAlgorithmWithItsKey) {
  const Signer rsa = Signer::Rsa("rsa");
  const std::vector<std::pair<Signer, const char*>> good = {
      {rsa, "RS256"},
      {rsa, "RS384"},
      {rsa, "RS512"},
      {rsa, "PS256"},
      {rsa, "PS384"},
      {rsa, "PS512"},
      {Signer::Ec("p256", 256), "ES256"},
      {Signer::Ec("p384", 384), "ES384"},
      {Signer::Ec("p521", 521), "ES512"},
  };
  for (const auto& [signer, algorithm] : good) {
    const KeySet keys = Parse(KeysOf({Signer::Ec("other"), signer}));
    const absl::StatusOr<std::string> payload = keys.Verify(signer.Sign(algorithm, kPayload));
    ASSERT_TRUE(payload.ok()) << algorithm << " " << payload.status();
    EXPECT_EQ(*payload, kPayload);
  }
}

struct Forged {
  const char* words;
  std::string token;
};

TEST(KeySetTest, RefusesWhatTheIssuerDidNotSign) {
  const Signer rsa = Signer::Rsa("rsa");
  const Signer ec = Signer::Ec("ec");
  const KeySet keys = Parse(KeysOf({rsa, ec}));
  const std::string good = rsa.Sign("RS256", kPayload);
  std::string changed = good;
  changed.replace(good.find('.') + 1, good.rfind('.') - good.find('.') - 1,
                  absl::WebSafeBase64Escape(R"({"sub":"eve"})"));
  const std::string modulus = rsa.PublicKey()["n"];
  std::string modulus_bytes;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(modulus, &modulus_bytes));
  for (const Forged& forged : std::vector<Forged>{
           {"signature", changed},
           {"signature", good.substr(0, good.rfind('.') + 1)},
           {"signature", good.substr(0, good.size() - 8)},
           {"signature", Signer::Rsa("rsa").Sign("RS256", kPayload)},
           {"signature", Signer::Ec("ec").Sign("ES256", kPayload)},
           // ECDSA's signature of two zeros.
           {"signature",
            Unsigned({{"alg", "ES256"}, {"kid", "ec"}}, kPayload, std::string(64, '\0'))},
           {"algorithm", Unsigned({{"alg", "none"}, {"kid", "rsa"}}, kPayload)},
           {"algorithm", Unsigned({{"alg", "None"}, {"kid", "rsa"}}, kPayload)},
           {"algorithm", Unsigned({{"kid", "rsa"}}, kPayload)},
           {"algorithm", Unsigned({{"alg", 5}, {"kid", "rsa"}}, kPayload)},
           // The public key as the secret.
           {"algorithm", Signer::Secret("rsa", modulus).Sign("HS256", kPayload)},
           {"algorithm", Signer::Secret("rsa", modulus_bytes).Sign("HS256", kPayload)},
           {"its key", Unsigned({{"alg", "ES256"}, {"kid", "rsa"}}, kPayload, "x")},
           {"its key", Unsigned({{"alg", "RS256"}, {"kid", "ec"}}, kPayload, "x")},
           {"its key", Unsigned({{"alg", "ES384"}, {"kid", "ec"}}, kPayload, "x")},
           {"crit",
            Unsigned({{"alg", "RS256"}, {"kid", "rsa"}, {"crit", Json::array({"b64"})}}, kPayload)},
           {"type", rsa.Sign("RS256", kPayload, {{"typ", "logout+jwt"}})},
           {"type", rsa.Sign("RS256", kPayload, {{"typ", Json::array({1})}})},
           {"not a signed", ""},
           {"not a signed", "."},
           {"algorithm", "e30.e30.e30"},
           {"not a signed", "e30"},
           {"not a signed", good + ".e30"},
           // libcjose's decoder aborts on these.
           {"not a signed", good + "="},
           {"not a signed",
            good.substr(0, good.find('.') + 6) + "=" + good.substr(good.find('.') + 7)},
           {"not a signed", good.substr(0, good.rfind('.') + 6) + "="},
           {"not a signed", good.substr(0, good.rfind('.') + 6)},
           {"not a signed", "!.e30.e30"},
           {"not a signed", absl::StrCat(absl::WebSafeBase64Escape("[]"), ".e30.e30")},
       }) {
    const absl::Status status = keys.Verify(forged.token).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << forged.token << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(forged.words)) << forged.token;
  }
}

TEST(KeySetTest, AKeyInTheTokenItselfIsNone) {
  const Signer eve = Signer::Rsa("rsa");
  const KeySet keys = Parse(KeysOf({Signer::Rsa("rsa")}));
  const std::string token =
      eve.Sign("RS256", kPayload, {{"jwk", eve.PublicKey()}, {"jku", "https://eve.example.org/"}});
  EXPECT_EQ(keys.Verify(token).status().code(), absl::StatusCode::kUnauthenticated);
}

TEST(KeySetTest, AKeyThatIsNotThereIsNotFound) {
  const Signer old = Signer::Ec("old");
  const KeySet keys = Parse(KeysOf({Signer::Ec("new"), Signer::Ec("newer")}));
  EXPECT_EQ(keys.Verify(old.Sign("ES256", kPayload)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(keys.Verify(old.Sign("ES256", kPayload, {{"kid", nullptr}})).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(KeySetTest, AKeyWithoutANameIsTheOnlyOne) {
  const Signer signer = Signer::Ec("one");
  const KeySet keys = Parse(KeysOf({signer}));
  EXPECT_TRUE(keys.Verify(signer.Sign("ES256", kPayload, {{"kid", nullptr}})).ok());
}

TEST(KeySetTest, AKeyIsUsedForWhatItIsMeantFor) {
  const Signer signer = Signer::Rsa("one");
  const auto keys_with = [&](const Json& members) {
    Json key = signer.PublicKey();
    key.update(members);
    return KeySet::Parse(Json{{"keys", Json::array({key})}}.dump());
  };
  for (const Json& members :
       {Json{{"use", "sig"}}, Json{{"key_ops", Json::array({"verify"})}}, Json{{"alg", "RS256"}}}) {
    const absl::StatusOr<KeySet> keys = keys_with(members);
    ASSERT_TRUE(keys.ok()) << members;
    EXPECT_TRUE(keys->Verify(signer.Sign("RS256", kPayload)).ok()) << members;
  }
  for (const Json& members :
       {Json{{"use", "enc"}}, Json{{"use", 1}}, Json{{"key_ops", Json::array({"wrapKey"})}},
        Json{{"key_ops", "verify"}}}) {
    EXPECT_FALSE(keys_with(members).ok()) << members;
  }
  const absl::StatusOr<KeySet> other = keys_with({{"alg", "PS256"}});
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE(other->Verify(signer.Sign("RS256", kPayload)).ok());
}

TEST(KeySetTest, RefusesASetWithoutAGoodKey) {
  Json no_modulus = Signer::Rsa("a").PublicKey();
  no_modulus.erase("n");
  Json off_curve = Signer::Ec("a").PublicKey();
  off_curve["y"] = off_curve["x"];
  Json cut = Signer::Ec("a").PublicKey();
  cut["x"] = cut["x"].get<std::string>().replace(5, 1, "=");
  for (
      const std::string& text : std::vector<std::string>{
          "",
          "[]",
          "{}",
          R"({"keys":{}})",
          R"({"keys":[]})",
          R"({"keys":[1,null,{}]})",
          R"({"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kid":"a"}]})",
          KeysOf({Signer::Rsa("short", 1024)}),
          Json{{"keys", Json::array({no_modulus})}}.dump(),
          Json{{"keys", Json::array({off_curve})}}.dump(),
          Json{{"keys", Json::array({cut})}}.dump(),
          Json{{"keys", Json(101, Signer::Ec("many").PublicKey())}}.dump(),
      }) {
    EXPECT_EQ(KeySet::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(KeySetTest, AKeyOfAnUnknownKindTakesNoOtherWithIt) {
  const Signer signer = Signer::Ec("ec");
  Json set = Json::parse(KeysOf({signer}));
  set["keys"].insert(set["keys"].begin(), {{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", "AA"}});
  EXPECT_TRUE(Parse(set.dump()).Verify(signer.Sign("ES256", kPayload)).ok());
}

}  // namespace
}  // namespace postern::controller
