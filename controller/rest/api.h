// What the controller answers over HTTPS: Azure's eight operations and its list of
// subscriptions, and Postern's own under /postern/v1/.

#ifndef POSTERN_CONTROLLER_REST_API_H_
#define POSTERN_CONTROLLER_REST_API_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "controller/identity/authenticator.h"
#include "controller/limits/rate_limit.h"
#include "controller/rest/http.h"
#include "controller/rest/path.h"
#include "controller/service/access_service.h"

namespace postern::controller {

// A call that is on its way: who calls, and for what.
struct Call {
  const HttpRequest& request;
  const Target& target;
  // The values in the places of the route's pattern.
  const std::vector<std::string>& values;
  const Caller& caller;
};

struct ApiOptions {
  // "https://HOST:PORT", for links. Never taken from a request: tokens follow them.
  std::string public_url;
  // Told of failures that are not the caller's.
  std::function<void(const std::string&)> report;
};

// Called from any thread.
class Api {
 public:
  // What is passed is borrowed.
  Api(AccessService& access, Authenticator& authenticator, const Clock& clock, ApiOptions options);

  HttpResponse Handle(const HttpRequest& request);

 private:
  absl::StatusOr<HttpResponse> Answer(const HttpRequest& request, Caller& caller);

  AccessService& access_;
  Authenticator& authenticator_;
  const Clock& clock_;
  const ApiOptions options_;
  RateLimit by_network_;
  RateLimit by_principal_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_API_H_
