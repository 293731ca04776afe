#include "common/tls/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "common/config/files.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr size_t kMaxPemBytes = size_t{1} << 20;
constexpr absl::Duration kRenewBefore = absl::Hours(14 * 24);

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using UniqueBio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using UniqueX509 = std::unique_ptr<X509, Free<X509_free>>;
using UniqueKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using UniqueSslCtx = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;

absl::Status Refuse(const std::string& path, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(Printable(path), ": ", message));
}

// The reason that OpenSSL gives first; empties its queue, which is shared by
// all that this thread does with OpenSSL.
std::string TakeReason() {
  const unsigned long error = ERR_get_error();  // NOLINT(google-runtime-int): OpenSSL's type
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "no reason given";
}

UniqueBio Memory(const std::string& bytes) {
  return UniqueBio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

absl::StatusOr<std::vector<UniqueX509>> ReadCertificates(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const FileContent file, ReadSmallFile(path, kMaxPemBytes));
  const UniqueBio bio = Memory(file.bytes);
  std::vector<UniqueX509> certificates;
  ERR_clear_error();
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = TakeReason();
  if (!at_end) {
    return Refuse(path, absl::StrCat("certificate ", certificates.size() + 1,
                                     " in this file is damaged (", reason, ")"));
  }
  if (certificates.empty()) {
    return Refuse(path,
                  "there is no certificate in this file; it wants one in PEM form, "
                  "\"-----BEGIN CERTIFICATE-----\"");
  }
  return certificates;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

absl::Time EndOf(const X509& certificate) { return TimeOf(X509_get0_notAfter(&certificate)); }

// Whoever renews certificates of a day has done it long before.
absl::Time RenewBy(const X509& certificate) {
  const absl::Time end = EndOf(certificate);
  const absl::Duration life = end - TimeOf(X509_get0_notBefore(&certificate));
  return end - std::min(kRenewBefore, life / 5);
}

std::string ShownTime(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

// A TLS server's context with this certificate: OpenSSL refuses here what it
// would refuse when serving, such as a weak key.
absl::StatusOr<UniqueSslCtx> ServerWith(X509& certificate, const std::string& path) {
  UniqueSslCtx context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr || SSL_CTX_use_certificate(context.get(), &certificate) != 1) {
    return Refuse(path, absl::StrCat("a server cannot use this certificate (", TakeReason(),
                                     "); make another"));
  }
  return context;
}

// Keeps OpenSSL from asking for a passphrase on the terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

absl::Status CheckCertificate(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<UniqueX509> certificates, ReadCertificates(path));
  return ServerWith(*certificates.front(), path).status();
}

absl::Status CheckKey(const std::string& path, const std::string& cert_path) {
  POSTERN_ASSIGN_OR_RETURN(const FileContent file, ReadSmallFile(path, kMaxPemBytes));
  if ((file.mode & S_IROTH) != 0) {
    return Refuse(path, absl::StrFormat("everybody may read this key (mode %04o); run chmod o-r",
                                        file.mode & 07777));
  }
  const UniqueBio bio = Memory(file.bytes);
  bool asked = false;
  ERR_clear_error();
  const UniqueKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, &asked));
  if (key == nullptr) {
    ERR_clear_error();
    return Refuse(path, asked ? "this key needs a passphrase; store it without one, readable by "
                                "root alone"
                              : "there is no private key in this file; it wants one in PEM form, "
                                "\"-----BEGIN PRIVATE KEY-----\"");
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<UniqueX509> certificates, ReadCertificates(cert_path));
  POSTERN_ASSIGN_OR_RETURN(const UniqueSslCtx context,
                           ServerWith(*certificates.front(), cert_path));
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return Refuse(path, absl::StrCat("this key does not belong to the certificate in ",
                                     Printable(cert_path), " (", TakeReason(), ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckAuthorities(const std::string& path) { return ReadCertificates(path).status(); }

std::vector<std::string> ExpiryWarnings(const TlsFiles& files, absl::Time now) {
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& path, absl::string_view what, const X509& certificate) {
    if (now < RenewBy(certificate)) return;
    const absl::Time end = EndOf(certificate);
    warnings.push_back(absl::StrCat(Printable(path), ": the ", what,
                                    end <= now ? " expired on " : " expires on ", ShownTime(end),
                                    "; renew it"));
  };
  if (const absl::StatusOr<std::vector<UniqueX509>> own = ReadCertificates(files.cert); own.ok()) {
    warn(files.cert, "certificate", *own->front());
  }
  if (const absl::StatusOr<std::vector<UniqueX509>> authorities = ReadCertificates(files.ca);
      authorities.ok()) {
    const auto latest = std::max_element(
        authorities->begin(), authorities->end(),
        [](const UniqueX509& a, const UniqueX509& b) { return EndOf(*a) < EndOf(*b); });
    warn(files.ca, "authority's certificate", **latest);
  }
  return warnings;
}

}  // namespace postern
