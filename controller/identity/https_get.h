// A small document over HTTPS (HTTP/1.1, TLS 1.2 and newer), of a server whose
// certificate holds for the name in the address.

#ifndef POSTERN_CONTROLLER_IDENTITY_HTTPS_GET_H_
#define POSTERN_CONTROLLER_IDENTITY_HTTPS_GET_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::controller {

struct HttpsGetOptions {
  // "https://HOST[:PORT][/PATH]".
  std::string url = {};
  // PEM of the authorities that the server's certificate may be of; empty: those
  // that this host trusts.
  std::string authorities = {};
  size_t max_bytes = 256 << 10;
  // For all of it.
  absl::Duration time = absl::Seconds(10);
};

// The body of the answer, which has to have status 200: nobody is followed to
// another address. Blocks.
absl::StatusOr<std::string> HttpsGet(const HttpsGetOptions& options);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_IDENTITY_HTTPS_GET_H_
