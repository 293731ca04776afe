#include "tests/unit/controller/identity/signer.h"

#include <cjose/cjose.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace postern::controller {

using Json = nlohmann::json;

struct Signer::Key {
  Key(std::string name, cjose_jwk_t* jwk) : id(std::move(name)), key(jwk) {}
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { cjose_jwk_release(key); }

  std::string id;
  cjose_jwk_t* key;
};

Signer Signer::Rsa(const std::string& id, size_t bits) {
  constexpr std::array<uint8_t, 3> kExponent = {1, 0, 1};
  cjose_err error;
  return Signer(std::make_shared<const Key>(
      id, cjose_jwk_create_RSA_random(bits, kExponent.data(), kExponent.size(), &error)));
}

Signer Signer::Ec(const std::string& id, size_t bits) {
  const cjose_jwk_ec_curve curve = bits == 256   ? CJOSE_JWK_EC_P_256
                                   : bits == 384 ? CJOSE_JWK_EC_P_384
                                                 : CJOSE_JWK_EC_P_521;
  cjose_err error;
  return Signer(std::make_shared<const Key>(id, cjose_jwk_create_EC_random(curve, &error)));
}

Signer Signer::Secret(const std::string& id, const std::string& secret) {
  cjose_err error;
  return Signer(std::make_shared<const Key>(
      id, cjose_jwk_create_oct_spec(reinterpret_cast<const uint8_t*>(secret.data()), secret.size(),
                                    &error)));
}

Json Signer::PublicKey() const {
  cjose_err error;
  char* text = cjose_jwk_to_json(key_->key, /*priv=*/false, &error);
  Json json = Json::parse(text);
  std::free(text);
  json["kid"] = key_->id;
  return json;
}

std::string Signer::Sign(const std::string& algorithm, const std::string& payload,
                         const Json& header) const {
  Json merged = {{"alg", algorithm}, {"kid", key_->id}};
  merged.merge_patch(header);
  cjose_err error;
  cjose_header_t* written = cjose_header_new(&error);
  for (const auto& [name, value] : merged.items()) {
    // What is raw has to be an object or a list.
    const bool set =
        value.is_string()
            ? cjose_header_set(written, name.c_str(), value.get<std::string>().c_str(), &error)
            : cjose_header_set_raw(written, name.c_str(), value.dump().c_str(), &error);
    EXPECT_TRUE(set) << name << " " << error.message;
  }
  cjose_jws_t* token = cjose_jws_sign(
      key_->key, written, reinterpret_cast<const uint8_t*>(payload.data()), payload.size(), &error);
  EXPECT_NE(token, nullptr) << merged << " " << error.message;
  const char* text = nullptr;
  std::string compact;
  if (token != nullptr && cjose_jws_export(token, &text, &error)) compact = text;
  cjose_jws_release(token);
  cjose_header_release(written);
  return compact;
}

std::string KeysOf(const std::vector<Signer>& signers) {
  Json keys = Json::array();
  for (const Signer& signer : signers) keys.push_back(signer.PublicKey());
  return Json{{"keys", std::move(keys)}}.dump();
}

std::string Unsigned(const Json& header, const std::string& payload, const std::string& signature) {
  return absl::StrCat(absl::WebSafeBase64Escape(header.dump()), ".",
                      absl::WebSafeBase64Escape(payload), ".",
                      absl::WebSafeBase64Escape(signature));
}

}  // namespace postern::controller
