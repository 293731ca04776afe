// Whether the PEM files that a configuration names can serve.

#ifndef POSTERN_AGENT_CONFIG_TLS_FILES_H_
#define POSTERN_AGENT_CONFIG_TLS_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace postern {

// The messages start with the path and say how to mend it.

// A certificate, perhaps followed by its chain, that a server can use at `now`.
absl::Status CheckCertificate(const std::string& path, absl::Time now);

// The unencrypted key of the certificate in `cert_path`, not open to everybody.
absl::Status CheckKey(const std::string& path, const std::string& cert_path);

// Certificates of authorities, at least one of them good at `now`.
absl::Status CheckAuthorities(const std::string& path, absl::Time now);

}  // namespace postern

#endif  // POSTERN_AGENT_CONFIG_TLS_FILES_H_
