// Audit events as CSV.

#ifndef POSTERN_CLI_CSV_H_
#define POSTERN_CLI_CSV_H_

#include <string>

#include "postern/v1/agent.pb.h"

namespace postern {

// Lines with their CRLF.
std::string AuditCsvHeader();
std::string AuditCsvLine(const v1::AuditEvent& event);

}  // namespace postern

#endif  // POSTERN_CLI_CSV_H_
