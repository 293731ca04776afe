#include "tests/support/certificates.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_join.h"

namespace postern {
namespace {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using UniqueKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using UniqueX509 = std::unique_ptr<X509, Free<X509_free>>;
using UniqueBio = std::unique_ptr<BIO, Free<BIO_free_all>>;

// A test without certificates says nothing, so it ends here.
void Must(bool done) {
  if (done) return;
  std::fputs("OpenSSL cannot make a certificate for the test\n", stderr);
  std::abort();
}

std::string Content(const UniqueBio& bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string ToPem(X509& cert) {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  Must(PEM_write_bio_X509(bio.get(), &cert) == 1);
  return Content(bio);
}

std::string ToPem(EVP_PKEY& key) {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  Must(PEM_write_bio_PrivateKey(bio.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return Content(bio);
}

UniqueKey NewKey() {
  UniqueKey key(EVP_EC_gen("P-256"));
  Must(key != nullptr);
  return key;
}

void AddExtension(X509& cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, &cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  Must(extension != nullptr && X509_add_ext(&cert, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

UniqueX509 NewCertificate(EVP_PKEY& key, const std::string& name, absl::Time from,
                          absl::Time until) {
  UniqueX509 cert(X509_new());
  uint64_t serial = 0;
  Must(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1);
  Must(X509_set_version(cert.get(), 2) == 1);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert.get()), serial >> 1);
  ASN1_TIME_set(X509_getm_notBefore(cert.get()), absl::ToTimeT(from));
  ASN1_TIME_set(X509_getm_notAfter(cert.get()), absl::ToTimeT(until));
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  Must(X509_set_pubkey(cert.get(), &key) == 1);
  return cert;
}

}  // namespace

struct TestAuthority::Parts {
  UniqueKey key;
  UniqueX509 cert;
};

TestAuthority::TestAuthority(const std::string& name) : parts_(std::make_unique<Parts>()) {
  parts_->key = NewKey();
  parts_->cert = NewCertificate(*parts_->key, name, absl::Now() - absl::Hours(1),
                                absl::Now() + absl::Hours(24));
  X509& cert = *parts_->cert;
  Must(X509_set_issuer_name(&cert, X509_get_subject_name(&cert)) == 1);
  AddExtension(cert, &cert, NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(cert, &cert, NID_key_usage, "critical,keyCertSign");
  AddExtension(cert, &cert, NID_subject_key_identifier, "hash");
  Must(X509_sign(&cert, parts_->key.get(), EVP_sha256()) > 0);
  cert_ = ToPem(cert);
}

TestAuthority::~TestAuthority() = default;

Identity TestAuthority::Issue(const LeafOptions& options) const {
  const UniqueKey key = NewKey();
  const UniqueX509 cert = NewCertificate(*key, "leaf", options.from, options.until);
  Must(X509_set_issuer_name(cert.get(), X509_get_subject_name(parts_->cert.get())) == 1);
  AddExtension(*cert, parts_->cert.get(), NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(*cert, parts_->cert.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  if (!options.names.empty()) {
    AddExtension(*cert, parts_->cert.get(), NID_subject_alt_name,
                 absl::StrJoin(options.names, ","));
  }
  Must(X509_sign(cert.get(), parts_->key.get(), EVP_sha256()) > 0);
  return {.cert = ToPem(*cert), .key = ToPem(*key)};
}

}  // namespace postern
