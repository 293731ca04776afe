#include "common/pki/authority.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"
#include "common/prefix.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

using BignumPtr = std::unique_ptr<BIGNUM, OpensslDeleter<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslDeleter<X509_EXTENSION_free>>;

constexpr absl::Duration kAuthorityLifetime = absl::Hours(24 * 3652);
// Against clocks that are a little behind.
constexpr absl::Duration kBackdated = absl::Minutes(5);

absl::Status SetSerial(X509* certificate) {
  const BignumPtr number(BN_new());
  if (number == nullptr || BN_rand(number.get(), 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return OpensslError("serial number");
  }
  return absl::OkStatus();
}

absl::Status SetTimes(X509* certificate, absl::Time from, absl::Time to) {
  const std::time_t begin = absl::ToTimeT(from);
  const std::time_t end = absl::ToTimeT(to);
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), begin) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), end) == nullptr) {
    return OpensslError("validity");
  }
  return absl::OkStatus();
}

absl::Status SetCommonName(X509* certificate, const std::string& name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto* bytes = reinterpret_cast<const unsigned char*>(name.data());
  if (X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, bytes, static_cast<int>(name.size()),
                                 -1, 0) != 1) {
    return OpensslError("subject");
  }
  return absl::OkStatus();
}

// `value` is in the language of x509v3_config(5); none of what goes in there
// can hold a comma or a newline.
absl::Status AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError(absl::StrCat("extension ", OBJ_nid2sn(nid)));
  }
  return absl::OkStatus();
}

// A certificate of version 3 for `key`, all but issuer, extensions and
// signature.
absl::StatusOr<X509Ptr> NewCertificate(EVP_PKEY* key, const std::string& common_name,
                                       absl::Time now, absl::Duration lifetime) {
  X509Ptr certificate(X509_new());
  if (certificate == nullptr || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return OpensslError("certificate");
  }
  POSTERN_RETURN_IF_ERROR(SetSerial(certificate.get()));
  POSTERN_RETURN_IF_ERROR(SetTimes(certificate.get(), now - kBackdated, now + lifetime));
  POSTERN_RETURN_IF_ERROR(SetCommonName(certificate.get(), common_name));
  return certificate;
}

absl::StatusOr<KeyPtr> NewKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpensslError("key");
  return key;
}

absl::StatusOr<PemPair> SignAndPrint(X509* certificate, const EVP_PKEY* key, EVP_PKEY* signer) {
  if (X509_sign(certificate, signer, EVP_sha256()) == 0) return OpensslError("signature");
  PemPair pair{.certificate = CertificatePem(certificate), .key = KeyPem(key)};
  if (pair.certificate.empty() || pair.key.empty()) return OpensslError("PEM");
  return pair;
}

std::string AlternativeNames(const LeafSpec& spec) {
  std::string names = absl::StrCat("URI:", spec.uri);
  for (const std::string& text : spec.addresses) {
    const absl::StatusOr<Address> address = Address::Parse(text);
    absl::StrAppend(&names, address.ok() ? absl::StrCat(",IP:", address->ToString())
                                         : absl::StrCat(",DNS:", text));
  }
  return names;
}

}  // namespace

absl::StatusOr<PemPair> MakeAuthority(absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const KeyPtr key, NewKey());
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr certificate,
                           NewCertificate(key.get(), "Postern CA", now, kAuthorityLifetime));
  X509* ca = certificate.get();
  if (X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1) return OpensslError("issuer");
  POSTERN_RETURN_IF_ERROR(
      AddExtension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  POSTERN_RETURN_IF_ERROR(AddExtension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign"));
  POSTERN_RETURN_IF_ERROR(AddExtension(ca, ca, NID_subject_key_identifier, "hash"));
  return SignAndPrint(ca, key.get(), key.get());
}

absl::StatusOr<Authority> ReadAuthority(const std::string& certificate_pem,
                                        const std::string& certificate_path,
                                        const std::string& key_pem, const std::string& key_path,
                                        absl::Time now) {
  Authority authority;
  POSTERN_ASSIGN_OR_RETURN(authority.certificate,
                           ReadCertificate(certificate_pem, certificate_path));
  POSTERN_ASSIGN_OR_RETURN(authority.key, ReadKey(key_pem, key_path));
  const std::string shown = Printable(certificate_path);
  if (X509_check_ca(authority.certificate.get()) != 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        shown, " is not the certificate of an authority; posternctl pki init makes one"));
  }
  if (X509_check_private_key(authority.certificate.get(), authority.key.get()) != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(key_path), " is not the key of ", shown));
  }
  std::time_t at = absl::ToTimeT(now);
  if (X509_cmp_time(X509_get0_notAfter(authority.certificate.get()), &at) < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(shown, " has expired; make a new authority in another directory"));
  }
  return authority;
}

absl::StatusOr<std::string> SignLeaf(const Authority& authority, EVP_PKEY* key,
                                     const LeafSpec& spec, absl::Time now) {
  X509* issuer = authority.certificate.get();
  std::time_t end = absl::ToTimeT(now + spec.lifetime);
  if (X509_cmp_time(X509_get0_notAfter(issuer), &end) < 0) {
    return absl::FailedPreconditionError(
        "the certificate would outlive its authority; ask for fewer --days, or make a new "
        "authority in another directory");
  }
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr certificate,
                           NewCertificate(key, spec.common_name, now, spec.lifetime));
  X509* leaf = certificate.get();
  if (X509_set_issuer_name(leaf, X509_get_subject_name(issuer)) != 1) return OpensslError("issuer");
  const std::string uses =
      absl::StrCat(spec.serves ? "serverAuth" : "", spec.serves && spec.calls ? "," : "",
                   spec.calls ? "clientAuth" : "");
  POSTERN_RETURN_IF_ERROR(AddExtension(leaf, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  POSTERN_RETURN_IF_ERROR(AddExtension(leaf, issuer, NID_key_usage, "critical,digitalSignature"));
  POSTERN_RETURN_IF_ERROR(AddExtension(leaf, issuer, NID_ext_key_usage, uses));
  POSTERN_RETURN_IF_ERROR(AddExtension(leaf, issuer, NID_subject_key_identifier, "hash"));
  POSTERN_RETURN_IF_ERROR(AddExtension(leaf, issuer, NID_authority_key_identifier, "keyid:always"));
  POSTERN_RETURN_IF_ERROR(AddExtension(leaf, issuer, NID_subject_alt_name, AlternativeNames(spec)));
  if (X509_sign(leaf, authority.key.get(), EVP_sha256()) == 0) return OpensslError("signature");
  std::string pem = CertificatePem(leaf);
  if (pem.empty()) return OpensslError("PEM");
  return pem;
}

absl::StatusOr<PemPair> IssueLeaf(const Authority& authority, const LeafSpec& spec,
                                  absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const KeyPtr key, NewKey());
  PemPair pair{.certificate = {}, .key = KeyPem(key.get())};
  if (pair.key.empty()) return OpensslError("PEM");
  POSTERN_ASSIGN_OR_RETURN(pair.certificate, SignLeaf(authority, key.get(), spec, now));
  return pair;
}

}  // namespace postern
