// Ownership and errors of OpenSSL's objects.

#ifndef POSTERN_COMMON_PKI_OPENSSL_H_
#define POSTERN_COMMON_PKI_OPENSSL_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern {

template <auto kFree>
struct OpensslDeleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using BioPtr = std::unique_ptr<BIO, OpensslDeleter<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslDeleter<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslDeleter<X509_free>>;

// INTERNAL: "what: OpenSSL's latest reason". Empties OpenSSL's error queue.
absl::Status OpensslError(absl::string_view what);

// A pem_password_cb that has none. Without it OpenSSL asks at the terminal for the
// passphrase of whatever claims to be encrypted, and waits.
int NoPassphrase(char* buffer, int size, int writing, void* user);

// The first certificate, or the private key, in `pem`; messages name `path`.
// A key under a passphrase is refused: there is nobody to ask.
absl::StatusOr<X509Ptr> ReadCertificate(const std::string& pem, const std::string& path);
absl::StatusOr<KeyPtr> ReadKey(const std::string& pem, const std::string& path);

// PEM; "" when OpenSSL fails.
std::string CertificatePem(const X509* certificate);
std::string KeyPem(const EVP_PKEY* key);

}  // namespace postern

#endif  // POSTERN_COMMON_PKI_OPENSSL_H_
