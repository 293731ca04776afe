// Certificate requests (PKCS #10, RFC 2986): how a holder of a key asks an
// authority for a certificate and shows that it has the key.

#ifndef POSTERN_COMMON_PKI_REQUEST_H_
#define POSTERN_COMMON_PKI_REQUEST_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/pki/openssl.h"

namespace postern {

// PEM.
struct CertificateRequest {
  std::string request = {};
  std::string key = {};
};

// For a new EC P-256 key. It names nobody: the authority knows whom it asks for.
absl::StatusOr<CertificateRequest> NewCertificateRequest();

// The public key in a request. INVALID_ARGUMENT where it is no request, is not
// signed by that key, or the key is neither EC P-256 nor P-384.
absl::StatusOr<KeyPtr> KeyOfRequest(const std::string& pem);

// What a certificate in PEM says of itself.
struct CertificateFacts {
  // Hexadecimal.
  std::string serial = {};
  absl::Time begin;
  absl::Time end;
};
absl::StatusOr<CertificateFacts> FactsOf(const std::string& pem);

}  // namespace postern

#endif  // POSTERN_COMMON_PKI_REQUEST_H_
