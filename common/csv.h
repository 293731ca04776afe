// CSV (RFC 4180) that is safe to open.

#ifndef POSTERN_COMMON_CSV_H_
#define POSTERN_COMMON_CSV_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace postern {

// One field, quoted where it must be. Control characters are escaped as
// Printable() does; a field that a spreadsheet would take for a formula (it
// begins with = + - @ or a tab) gets an apostrophe before it.
std::string CsvField(absl::string_view text);

// A line of `fields`, with its CRLF.
std::string CsvLine(const std::vector<std::string>& fields);

}  // namespace postern

#endif  // POSTERN_COMMON_CSV_H_
