// Who calls: by a token, of this controller or of an issuer that it trusts, or by a
// client's certificate.

#ifndef POSTERN_CONTROLLER_IDENTITY_AUTHENTICATOR_H_
#define POSTERN_CONTROLLER_IDENTITY_AUTHENTICATOR_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "controller/identity/trusted_issuers.h"
#include "controller/store/database.h"

namespace postern::controller {

// Called from any thread.
class Authenticator {
 public:
  // What is passed is borrowed.
  Authenticator(Database& database, TrustedIssuers& issuers, const Clock& clock)
      : database_(database), issuers_(issuers), clock_(clock) {}

  // The principal of a call with this Authorization header ("" where there was
  // none) and these URIs in its client's certificate: a token goes before a
  // certificate. A static token's principal is the one it was made for, an issuer's
  // is as TrustedIssuer says, a certificate's is "cert:" and its first URI.
  // UNAUTHENTICATED otherwise; UNAVAILABLE where that cannot be told at present.
  absl::StatusOr<std::string> Authenticate(absl::string_view authorization,
                                           const std::vector<std::string>& certificate_uris);

 private:
  absl::StatusOr<std::string> PrincipalOfOwnToken(absl::string_view token);

  Database& database_;
  TrustedIssuers& issuers_;
  const Clock& clock_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_IDENTITY_AUTHENTICATOR_H_
