#include "controller/identity/key_set.h"

#include <cjose/cjose.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status.h"

namespace postern::controller {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostKeys = 100;
// In bits.
constexpr size_t kSmallestRsa = 2048;
constexpr size_t kLargestRsa = 8192;

struct ReleaseJwk {
  void operator()(cjose_jwk_t* key) const { cjose_jwk_release(key); }
};
struct ReleaseJws {
  void operator()(cjose_jws_t* token) const { cjose_jws_release(token); }
};
using JwkPtr = std::unique_ptr<cjose_jwk_t, ReleaseJwk>;
using JwsPtr = std::unique_ptr<cjose_jws_t, ReleaseJws>;

struct Algorithm {
  absl::string_view name;
  cjose_jwk_kty_t type;
  // Of the key's curve; 0 for RSA.
  size_t bits;
};

// None that is symmetric: what verifies such a signature makes it as well.
constexpr std::array<Algorithm, 9> kAlgorithms = {{
    {"RS256", CJOSE_JWK_KTY_RSA, 0},
    {"RS384", CJOSE_JWK_KTY_RSA, 0},
    {"RS512", CJOSE_JWK_KTY_RSA, 0},
    {"PS256", CJOSE_JWK_KTY_RSA, 0},
    {"PS384", CJOSE_JWK_KTY_RSA, 0},
    {"PS512", CJOSE_JWK_KTY_RSA, 0},
    {"ES256", CJOSE_JWK_KTY_EC, 256},
    {"ES384", CJOSE_JWK_KTY_EC, 384},
    {"ES512", CJOSE_JWK_KTY_EC, 521},
}};

const Algorithm* FindAlgorithm(absl::string_view name) {
  const auto* found = std::find_if(kAlgorithms.begin(), kAlgorithms.end(),
                                   [&](const Algorithm& one) { return one.name == name; });
  return found == kAlgorithms.end() ? nullptr : found;
}

// "" where there is none, or it is no text.
std::string TextOf(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool IsForSignatures(const Json& key) {
  if (key.contains("use") && TextOf(key, "use") != "sig") return false;
  const auto operations = key.find("key_ops");
  if (operations == key.end()) return true;
  return operations->is_array() &&
         std::find(operations->begin(), operations->end(), "verify") != operations->end();
}

// As RFC 7515, section 2 has it: without padding. libcjose 0.6 ends the process where a text
// breaks off within an octet.
bool IsBase64Url(absl::string_view text) {
  return text.size() % 4 != 1 && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_';
         });
}

// Its public part: what a set holds beyond that is not ours to know.
Json PublicPart(const Json& key) {
  Json part = Json::object();
  const std::string type = TextOf(key, "kty");
  const std::vector<const char*> names = type == "RSA"  ? std::vector{"kty", "n", "e"}
                                         : type == "EC" ? std::vector{"kty", "crv", "x", "y"}
                                                        : std::vector<const char*>{};
  for (const char* name : names) part[name] = TextOf(key, name);
  return part;
}

JwkPtr ImportKey(const Json& key) {
  const Json part = PublicPart(key);
  for (const char* number : {"n", "e", "x", "y"}) {
    if (!IsBase64Url(TextOf(part, number))) return nullptr;
  }
  const std::string text = part.dump(-1, ' ', false, Json::error_handler_t::replace);
  cjose_err error;
  JwkPtr imported(cjose_jwk_import(text.data(), text.size(), &error));
  if (imported == nullptr || cjose_jwk_get_kty(imported.get(), &error) != CJOSE_JWK_KTY_RSA) {
    return imported;
  }
  const size_t bits = cjose_jwk_get_keysize(imported.get(), &error);
  return bits >= kSmallestRsa && bits <= kLargestRsa ? std::move(imported) : nullptr;
}

absl::Status NotAccepted(absl::string_view why) { return absl::UnauthenticatedError(why); }

absl::StatusOr<Json> HeaderOf(absl::string_view token) {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '.');
  std::string text;
  Json header;
  if (parts.size() == 3 && std::all_of(parts.begin(), parts.end(), IsBase64Url) &&
      absl::WebSafeBase64Unescape(parts.front(), &text)) {
    header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  }
  if (!header.is_object()) return NotAccepted("the token is not a signed JSON Web Token");
  // What must be understood and is not (RFC 7515, 4.1.11).
  if (header.contains("crit")) return NotAccepted("the token wants what is not supported: crit");
  // A token made for something else, such as a logout, says so (RFC 8725, 3.11).
  const std::string type = absl::AsciiStrToLower(TextOf(header, "typ"));
  const absl::string_view kind = absl::StripPrefix(type, "application/");
  if (header.contains("typ") && kind != "jwt" && kind != "at+jwt") {
    return NotAccepted("the token is of a type that is not for access");
  }
  return header;
}

}  // namespace

struct KeySet::Key {
  std::string id;
  // The one algorithm that it is for; "" for any that fits it.
  std::string algorithm;
  JwkPtr key;

  bool Fits(const Algorithm& wanted) const {
    cjose_err error;
    if (!algorithm.empty() && algorithm != wanted.name) return false;
    if (cjose_jwk_get_kty(key.get(), &error) != wanted.type) return false;
    return wanted.bits == 0 || cjose_jwk_get_keysize(key.get(), &error) == wanted.bits;
  }
};

absl::StatusOr<KeySet> KeySet::Parse(const std::string& json) {
  const Json set = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto list = set.is_object() ? set.find("keys") : set.end();
  if (!set.is_object() || list == set.end() || !list->is_array() || list->size() > kMostKeys) {
    return absl::InvalidArgumentError("is no JSON Web Key Set ({\"keys\": [...]})");
  }
  std::vector<std::shared_ptr<const Key>> keys;
  for (const Json& one : *list) {
    if (!one.is_object() || !IsForSignatures(one)) continue;
    JwkPtr imported = ImportKey(one);
    if (imported == nullptr) continue;
    keys.push_back(std::make_shared<const Key>(Key{
        .id = TextOf(one, "kid"), .algorithm = TextOf(one, "alg"), .key = std::move(imported)}));
  }
  if (keys.empty()) {
    return absl::InvalidArgumentError(
        "has no key for signatures; RSA of 2,048 to 8,192 bits and EC are taken");
  }
  return KeySet(std::move(keys));
}

// A token without a name for its key is taken where there is one key only.
const KeySet::Key* KeySet::Find(absl::string_view id) const {
  if (id.empty()) return keys_.size() == 1 ? keys_.front().get() : nullptr;
  for (const std::shared_ptr<const Key>& key : keys_) {
    if (key->id == id) return key.get();
  }
  return nullptr;
}

absl::StatusOr<std::string> KeySet::Verify(const std::string& token) const {
  POSTERN_ASSIGN_OR_RETURN(const Json header, HeaderOf(token));
  const Algorithm* algorithm = FindAlgorithm(TextOf(header, "alg"));
  if (algorithm == nullptr) {
    return NotAccepted("the token's algorithm is not accepted; RS256 and ES256 are, among others");
  }
  const Key* key = Find(TextOf(header, "kid"));
  if (key == nullptr) return absl::NotFoundError("the token names a key that is not known");
  if (!key->Fits(*algorithm)) return NotAccepted("the token's algorithm is not that of its key");
  cjose_err error;
  const JwsPtr signed_token(cjose_jws_import(token.data(), token.size(), &error));
  if (signed_token == nullptr || !cjose_jws_verify(signed_token.get(), key->key.get(), &error)) {
    return NotAccepted("the token's signature is wrong");
  }
  // It belongs to the token.
  uint8_t* payload = nullptr;
  size_t size = 0;
  if (!cjose_jws_get_plaintext(signed_token.get(), &payload, &size, &error)) {
    return NotAccepted("the token is empty");
  }
  return std::string(reinterpret_cast<const char*>(payload), size);
}

std::string UnverifiedPayload(absl::string_view token) {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '.');
  std::string payload;
  if (parts.size() != 3 || !absl::WebSafeBase64Unescape(parts[1], &payload)) return "";
  return payload;
}

}  // namespace postern::controller
