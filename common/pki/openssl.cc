#include "common/pki/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/str_cat.h"
#include "common/text.h"

namespace postern {
namespace {

BioPtr ReadOnly(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string ContentOf(BIO* bio) {
  char* data = nullptr;
  // NOLINTNEXTLINE(google-runtime-int): OpenSSL's type
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : "";
}

}  // namespace

int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return 0; }

absl::Status OpensslError(absl::string_view what) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return absl::InternalError(
      absl::StrCat(what, ": ", reason == nullptr ? "OpenSSL gives no reason" : reason));
}

absl::StatusOr<X509Ptr> ReadCertificate(const std::string& pem, const std::string& path) {
  X509Ptr certificate(PEM_read_bio_X509(ReadOnly(pem).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(path), " holds no certificate in PEM form"));
  }
  return certificate;
}

absl::StatusOr<KeyPtr> ReadKey(const std::string& pem, const std::string& path) {
  KeyPtr key(PEM_read_bio_PrivateKey(ReadOnly(pem).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(path), " holds no private key in PEM form without a passphrase"));
  }
  return key;
}

std::string CertificatePem(const X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509(bio.get(), certificate) != 1) return "";
  return ContentOf(bio.get());
}

std::string KeyPem(const EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return "";
  }
  return ContentOf(bio.get());
}

}  // namespace postern
