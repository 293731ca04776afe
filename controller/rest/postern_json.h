// What stands under /postern/v1/, in JSON with the names that posternctl prints:
// snake_case, times RFC 3339. Pure.

#ifndef POSTERN_CONTROLLER_REST_POSTERN_JSON_H_
#define POSTERN_CONTROLLER_REST_POSTERN_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "controller/domain/request.h"
#include "controller/service/access_service.h"

namespace postern::controller {

nlohmann::json ToJson(const Request& request);
nlohmann::json ToJson(const VmView& vm);
// Without the secret's hash.
nlohmann::json ToJson(const JoinToken& token);
nlohmann::json ToJson(const AccessToken& token);
nlohmann::json ToJson(const RoleAssignment& assignment);
nlohmann::json ToJson(const AuditRow& row);

// RFC 4180 lines with their CRLF.
std::string AuditCsvHeader();
std::string AuditCsvLine(const AuditRow& row);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_POSTERN_JSON_H_
