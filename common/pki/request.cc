#include "common/pki/request.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>
#include <ctime>

#include "absl/strings/string_view.h"
#include "common/status.h"

namespace postern {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, OpensslDeleter<X509_REQ_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslDeleter<BN_free>>;

constexpr size_t kMaxPemBytes = size_t{16} << 10;

absl::Status Wrong(absl::string_view message) {
  ERR_clear_error();
  return absl::InvalidArgumentError(message);
}

bool IsGoodKey(const EVP_PKEY* key) {
  std::array<char, 64> group{};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) != 1) return false;
  const absl::string_view name(group.data(), size);
  return name == "prime256v1" || name == "P-256" || name == "secp384r1" || name == "P-384";
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

}  // namespace

absl::StatusOr<CertificateRequest> NewCertificateRequest() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const RequestPtr request(X509_REQ_new());
  const BioPtr out(BIO_new(BIO_s_mem()));
  const bool made = key != nullptr && request != nullptr && out != nullptr &&
                    X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
                    X509_REQ_sign(request.get(), key.get(), EVP_sha256()) != 0 &&
                    PEM_write_bio_X509_REQ(out.get(), request.get()) == 1;
  if (!made) return OpensslError("certificate request");
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);  // NOLINT(google-runtime-int): OpenSSL's
  CertificateRequest result{.request = std::string(text, static_cast<size_t>(size)),
                            .key = KeyPem(key.get())};
  if (result.key.empty()) return OpensslError("PEM");
  return result;
}

absl::StatusOr<KeyPtr> KeyOfRequest(const std::string& pem) {
  if (pem.size() > kMaxPemBytes) return Wrong("the certificate request is too long to be one");
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, NoPassphrase, nullptr));
  if (request == nullptr) return Wrong("there is no certificate request in PEM form");
  KeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (key == nullptr || !IsGoodKey(key.get())) {
    return Wrong("the certificate request wants a key on the curve P-256 or P-384");
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    return Wrong("the certificate request is not signed by its own key");
  }
  return key;
}

absl::StatusOr<CertificateFacts> FactsOf(const std::string& pem) {
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr certificate, ReadCertificate(pem, "the certificate"));
  const BignumPtr serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  char* text = serial == nullptr ? nullptr : BN_bn2hex(serial.get());
  if (text == nullptr) return OpensslError("serial number");
  CertificateFacts facts{.serial = text,
                         .begin = TimeOf(X509_get0_notBefore(certificate.get())),
                         .end = TimeOf(X509_get0_notAfter(certificate.get()))};
  OPENSSL_free(text);
  return facts;
}

}  // namespace postern
