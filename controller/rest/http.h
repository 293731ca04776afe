// A request and a response, without the connection they travel on.

#ifndef POSTERN_CONTROLLER_REST_HTTP_H_
#define POSTERN_CONTROLLER_REST_HTTP_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/prefix.h"

namespace postern::controller {

struct HttpRequest {
  // Upper case: "GET".
  std::string method = {};
  // Path and query as they were sent.
  std::string target = {};
  // By names in lower case; of a name that came twice, the first.
  std::map<std::string, std::string> headers = {};
  std::string body = {};
  std::optional<Address> peer = {};
  // The URIs in the client's verified certificate, where it has one.
  std::vector<std::string> certificate_uris = {};

  // "" where there is none. `name` in lower case.
  const std::string& Header(const std::string& name) const {
    static const std::string& none = *new std::string;
    const auto found = headers.find(name);
    return found == headers.end() ? none : found->second;
  }
};

struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  // Where it is set, gives the next part of the body after `body`; "" ends it, an
  // error breaks the connection off, so that nobody takes a part for the whole.
  std::function<absl::StatusOr<std::string>()> more = {};
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_HTTP_H_
