// The keys of an issuer (JWKS, RFC 7517) and the tokens that they signed (JWS in
// its compact form, RFC 7515). The only code that includes cjose. Pure.

#ifndef POSTERN_CONTROLLER_IDENTITY_KEY_SET_H_
#define POSTERN_CONTROLLER_IDENTITY_KEY_SET_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern::controller {

// Called from any thread.
class KeySet {
 public:
  // Takes the public RSA and EC keys that are for signatures; others, symmetric ones
  // among them, are as if they were not there. INVALID_ARGUMENT where none is left.
  static absl::StatusOr<KeySet> Parse(const std::string& json);

  // What `token` carries, where one of these keys signed it with RS, PS or ES and
  // 256, 384 or 512.
  //   NOT_FOUND        it names a key that is none of these
  //   UNAUTHENTICATED  anything else
  absl::StatusOr<std::string> Verify(const std::string& token) const;

 private:
  struct Key;

  explicit KeySet(std::vector<std::shared_ptr<const Key>> keys) : keys_(std::move(keys)) {}
  const Key* Find(absl::string_view id) const;

  std::vector<std::shared_ptr<const Key>> keys_;
};

// What a token carries, whoever signed it: good for choosing whose keys to verify
// it with, and for nothing else. "" for what is no token.
std::string UnverifiedPayload(absl::string_view token);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_IDENTITY_KEY_SET_H_
