#include "agent/link/identity_files.h"

#include <openssl/x509.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/config/files.h"
#include "common/pki/openssl.h"
#include "common/pki/request.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;
// Between the three parts of the file; PEM has no such line.
constexpr char kSeparator[] = "\n# ----\n";

}  // namespace

std::string IdentityPath(const std::string& state_dir) {
  return absl::StrCat(state_dir, "/controller-identity.pem");
}

absl::StatusOr<LinkIdentity> MakeIdentity(const std::string& certificate, const std::string& key,
                                          const std::string& authorities) {
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr parsed,
                           ReadCertificate(certificate, "the controller's answer"));
  POSTERN_ASSIGN_OR_RETURN(const KeyPtr parsed_key, ReadKey(key, "the key"));
  if (X509_check_private_key(parsed.get(), parsed_key.get()) != 1) {
    return absl::InvalidArgumentError("the controller's certificate is for another key");
  }
  POSTERN_RETURN_IF_ERROR(ReadCertificate(authorities, "the controller's authorities").status());
  POSTERN_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(certificate));
  return LinkIdentity{.certificate = certificate,
                      .key = key,
                      .authorities = authorities,
                      .renew_at = facts.begin + (facts.end - facts.begin) * 2 / 3,
                      .end = facts.end};
}

absl::StatusOr<LinkIdentity> LoadIdentity(const std::string& state_dir) {
  const std::string path = IdentityPath(state_dir);
  POSTERN_ASSIGN_OR_RETURN(const FileContent file, ReadSmallFile(path, kMaxBytes));
  const std::vector<std::string> parts = absl::StrSplit(file.bytes, kSeparator);
  if (parts.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is damaged; remove it and enrol again with a new join token"));
  }
  absl::StatusOr<LinkIdentity> identity = MakeIdentity(parts[0], parts[1], parts[2]);
  if (!identity.ok()) return Annotate(identity.status(), path);
  return identity;
}

absl::Status SaveIdentity(const std::string& state_dir, const LinkIdentity& identity) {
  constexpr mode_t kOwnerAlone = 0600;
  return ReplaceFile(IdentityPath(state_dir),
                     absl::StrCat(identity.certificate, kSeparator, identity.key, kSeparator,
                                  identity.authorities),
                     kOwnerAlone);
}

}  // namespace postern
