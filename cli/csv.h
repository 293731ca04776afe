// Audit events as CSV.

#ifndef POSTERN_CLI_CSV_H_
#define POSTERN_CLI_CSV_H_

#include <string>

#include "absl/strings/string_view.h"
#include "postern/v1/agent.pb.h"

namespace postern {

// One field as RFC 4180 has it, quoted where it must be. Control characters are
// escaped as Printable() does; a field that a spreadsheet would take for a
// formula (it begins with = + - @ or a tab) gets an apostrophe before it.
std::string CsvField(absl::string_view text);

// Lines with their CRLF.
std::string AuditCsvHeader();
std::string AuditCsvLine(const v1::AuditEvent& event);

}  // namespace postern

#endif  // POSTERN_CLI_CSV_H_
