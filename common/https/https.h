// One exchange over HTTPS (HTTP/1.1, TLS 1.2 and newer) with a server whose
// certificate holds for the name in the address. Nobody is followed to another
// address.

#ifndef POSTERN_COMMON_HTTPS_HTTPS_H_
#define POSTERN_COMMON_HTTPS_HTTPS_H_

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace postern {

struct HttpsRequest {
  std::string method = "GET";
  // "https://HOST[:PORT][/PATH]".
  std::string url = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  // PEM of the authorities that the server's certificate may be of; empty: those
  // that this host trusts.
  std::string authorities = {};
  // PEM of the client's own certificate and its key; empty: none is shown.
  std::string certificate = {};
  std::string key = {};
  // Of the answer's body.
  size_t max_bytes = 256 << 10;
  // For all of it.
  absl::Duration time = absl::Seconds(10);
  // Where it is given, it is handed the body of an answer with status 200 piece by
  // piece, of any length; an error of its own ends the exchange.
  std::function<absl::Status(absl::string_view)> take = {};
};

struct HttpsAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};

  // Compared without case; "" where it is missing.
  std::string Header(absl::string_view name) const;
};

// "https://HOST[:PORT]", with or without a path; INVALID_ARGUMENT otherwise.
absl::Status CheckHttpsUrl(const std::string& url);

// The answer, whatever its status. Blocks.
//   INVALID_ARGUMENT  the address, a certificate or a key is none
//   UNAUTHENTICATED   the server's certificate does not hold: why is in the message
//   UNAVAILABLE       there was no whole answer in time
absl::StatusOr<HttpsAnswer> Exchange(const HttpsRequest& request);

}  // namespace postern

#endif  // POSTERN_COMMON_HTTPS_HTTPS_H_
