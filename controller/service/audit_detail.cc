#include "controller/service/audit_detail.h"

#include <nlohmann/json.hpp>

namespace postern::controller {

std::string DetailText(const AuditDetail& detail) {
  using Json = nlohmann::json;
  return Json(detail).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace postern::controller
