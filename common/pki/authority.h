// A small certificate authority: one root, EC P-256 keys, leaf certificates
// that name their holder by a URI.

#ifndef POSTERN_COMMON_PKI_AUTHORITY_H_
#define POSTERN_COMMON_PKI_AUTHORITY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/pki/openssl.h"

namespace postern {

// A certificate and its key, in PEM.
struct PemPair {
  std::string certificate;
  std::string key;
};

struct Authority {
  X509Ptr certificate;
  KeyPtr key;
};

struct LeafSpec {
  std::string common_name;
  // The holder's identity, a URI.
  std::string uri;
  // IP addresses and DNS names.
  std::vector<std::string> addresses;
  // serverAuth, clientAuth.
  bool serves = false;
  bool calls = false;
  absl::Duration lifetime;
};

// A root that may sign leaves and nothing else, good for ten years.
absl::StatusOr<PemPair> MakeAuthority(absl::Time now);

// Refuses a certificate that is no authority or has expired, and a key that is
// not its own. Paths are for messages.
absl::StatusOr<Authority> ReadAuthority(const std::string& certificate_pem,
                                        const std::string& certificate_path,
                                        const std::string& key_pem, const std::string& key_path,
                                        absl::Time now);

// The certificate, in PEM, of a key whose holder has shown that they have it.
// FAILED_PRECONDITION when it would outlive the authority.
absl::StatusOr<std::string> SignLeaf(const Authority& authority, EVP_PKEY* key,
                                     const LeafSpec& spec, absl::Time now);

// Signs a new key's certificate. FAILED_PRECONDITION when it would outlive the
// authority.
absl::StatusOr<PemPair> IssueLeaf(const Authority& authority, const LeafSpec& spec, absl::Time now);

}  // namespace postern

#endif  // POSTERN_COMMON_PKI_AUTHORITY_H_
