// Tokens of issuers, and the key sets that their signatures are held against.

#include <cstdint>
#include <string>

#include "controller/identity/key_set.h"
#include "controller/identity/trusted_issuer.h"
#include "tests/fuzz/fuzz.h"

namespace postern::controller {
namespace {

constexpr size_t kMostMessage = 1024;

// Whose private half nobody has: no input is a token of it.
const KeySet& SomeKeys() {
  static const auto& keys = *new absl::StatusOr<KeySet>(
      KeySet::Parse(R"({"keys":[{"kty":"EC","kid":"a","crv":"P-256",)"
                    R"("x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})"));
  return *keys;
}

void CheckToken(absl::string_view text) {
  const absl::StatusOr<std::string> payload = SomeKeys().Verify(std::string(text));
  FUZZ_CHECK(!payload.ok());
  FUZZ_CHECK(IsGoodMessage(payload.status().message(), kMostMessage));
  ReadClaims(UnverifiedPayload(text), "sub");
  ReadClaims(std::string(text), "sub");
}

void CheckKeys(absl::string_view text) {
  const absl::StatusOr<KeySet> keys = KeySet::Parse(std::string(text));
  if (!keys.ok()) {
    FUZZ_CHECK(IsGoodMessage(keys.status().message(), kMostMessage));
    return;
  }
  FUZZ_CHECK(!keys->Verify("e30.e30.e30").ok());
}

}  // namespace
}  // namespace postern::controller

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text = postern::AsText(data, size);
  postern::controller::CheckToken(text);
  postern::controller::CheckKeys(text);
  return 0;
}
