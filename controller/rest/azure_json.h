// Policies and requests as Azure's clients write and read them (Microsoft.Security
// jitNetworkAccessPolicies, 2020-01-01), with Postern's additions under "postern".
// Pure.

#ifndef POSTERN_CONTROLLER_REST_AZURE_JSON_H_
#define POSTERN_CONTROLLER_REST_AZURE_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/domain/request.h"
#include "controller/service/access_service.h"

namespace postern::controller {

// The body of a PUT; `requests` in it is ignored, and what is read-only as well.
absl::StatusOr<PolicyChange> ReadPolicy(const PolicyId& id, const nlohmann::json& body);
// The body of an initiate.
absl::StatusOr<Asked> ReadAsked(const nlohmann::json& body);

nlohmann::json PolicyJson(const PolicyView& view);
nlohmann::json RequestJson(const Request& request);

// "2018-07-12T09:53:03.3658798Z".
std::string AzureTime(absl::Time time);
// "PT3H", "PT1H30M", "P1D".
std::string IsoDuration(absl::Duration duration);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_AZURE_JSON_H_
