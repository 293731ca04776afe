// What an audit's row says happened.

#ifndef POSTERN_CONTROLLER_SERVICE_AUDIT_DETAIL_H_
#define POSTERN_CONTROLLER_SERVICE_AUDIT_DETAIL_H_

#include <map>
#include <string>

namespace postern::controller {

using AuditDetail = std::map<std::string, std::string>;

// As one JSON object. Bytes that are not UTF-8 are replaced.
std::string DetailText(const AuditDetail& detail);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_AUDIT_DETAIL_H_
