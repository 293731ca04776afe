// The operations, each by its method and path.

#ifndef POSTERN_CONTROLLER_REST_ROUTES_H_
#define POSTERN_CONTROLLER_REST_ROUTES_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/rest/api.h"

namespace postern::controller {

struct Route {
  std::string method;
  // With "{}" where a value stands.
  std::string pattern;
  std::function<absl::StatusOr<HttpResponse>(AccessService&, const ApiOptions&, const Call&)>
      answer;
  // The names in the query that it knows, in lower case. Azure's clients may send more:
  // their routes name none, and are not held to it.
  std::vector<std::string> parameters = {};
};

// Of Azure's Microsoft.Security/jitNetworkAccessPolicies, 2020-01-01, and the list of
// subscriptions, which `az login` asks for.
const std::vector<Route>& AzureRoutes();
// Under /postern/v1/.
const std::vector<Route>& PosternRoutes();

HttpResponse JsonResponse(int status, const nlohmann::json& body);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_ROUTES_H_
