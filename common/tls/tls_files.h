// Whether the PEM files that a configuration names can serve.

#ifndef POSTERN_COMMON_TLS_TLS_FILES_H_
#define POSTERN_COMMON_TLS_TLS_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace postern {

// PEM files, absolute paths.
struct TlsFiles {
  std::string cert;
  std::string key;
  std::string ca;
  friend bool operator==(const TlsFiles&, const TlsFiles&) = default;
};

// The messages start with the path and say how to mend it.

// A certificate, perhaps followed by its chain, that a server can use. One that
// has expired passes: see ExpiryWarnings.
absl::Status CheckCertificate(const std::string& path);

// The unencrypted key of the certificate in `cert_path`, not open to everybody.
absl::Status CheckKey(const std::string& path, const std::string& cert_path);

// Certificates of authorities, expired or not.
absl::Status CheckAuthorities(const std::string& path);

// A sentence for each of the files whose certificates have all expired at `now`, or
// will so soon that they should have been renewed: within two weeks, or the last
// fifth of a shorter life. That is no reason not to start: clients will refuse the
// agent, or it them, but the gate and the local socket do their work.
std::vector<std::string> ExpiryWarnings(const TlsFiles& files, absl::Time now);

}  // namespace postern

#endif  // POSTERN_COMMON_TLS_TLS_FILES_H_
