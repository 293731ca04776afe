#include "cli/credentials.h"

#include <openssl/x509.h>

#include "absl/strings/str_cat.h"
#include "cli/files.h"
#include "common/pki/openssl.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

// A sentence when `now` is outside the certificate's time.
void WarnOfTime(const std::string& path, const X509* certificate, absl::Time now,
                std::vector<std::string>& warnings) {
  std::time_t at = absl::ToTimeT(now);
  if (X509_cmp_time(X509_get0_notAfter(certificate), &at) < 0) {
    warnings.push_back(absl::StrCat(Printable(path), " has expired; issue a new one"));
  }
  if (X509_cmp_time(X509_get0_notBefore(certificate), &at) > 0) {
    warnings.push_back(
        absl::StrCat(Printable(path), " is not valid yet; check this machine's clock"));
  }
}

}  // namespace

absl::StatusOr<Credentials> ReadCredentials(const RemoteAgent& agent, absl::Time now) {
  Credentials credentials;
  POSTERN_ASSIGN_OR_RETURN(SmallFile ca, ReadSmallFile(agent.ca_file));
  POSTERN_ASSIGN_OR_RETURN(SmallFile cert, ReadSmallFile(agent.cert_file));
  POSTERN_ASSIGN_OR_RETURN(SmallFile key, ReadSmallFile(agent.key_file));

  POSTERN_ASSIGN_OR_RETURN(const X509Ptr authority, ReadCertificate(ca.content, agent.ca_file));
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr own, ReadCertificate(cert.content, agent.cert_file));
  POSTERN_ASSIGN_OR_RETURN(const KeyPtr own_key, ReadKey(key.content, agent.key_file));
  if (X509_check_private_key(own.get(), own_key.get()) != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(agent.key_file), " is not the key of ", Printable(agent.cert_file),
                     "; give the pair that was issued together"));
  }
  WarnOfTime(agent.ca_file, authority.get(), now, credentials.warnings);
  WarnOfTime(agent.cert_file, own.get(), now, credentials.warnings);
  if (key.readable_by_others) {
    credentials.warnings.push_back(
        absl::StrCat(Printable(agent.key_file), " can be read by others; chmod 600 it"));
  }
  credentials.ca = std::move(ca.content);
  credentials.cert = std::move(cert.content);
  credentials.key = std::move(key.content);
  return credentials;
}

}  // namespace postern
