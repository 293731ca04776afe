// Lines for the journal, with its fields, or for a terminal.

#ifndef POSTERN_AGENT_SYSTEMD_LOG_H_
#define POSTERN_AGENT_SYSTEMD_LOG_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace postern {

// syslog(3)'s numbers.
enum class Priority { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6 };

// A journal field: NAME (upper case, digits, underscores) and value.
using LogFields = std::vector<std::pair<std::string, std::string>>;

// Writes one line: to the journal when standard error is connected to it
// (JOURNAL_STREAM, systemd.exec(5)), with `fields`; otherwise to standard error.
// Control characters are escaped. Any thread.
void Log(Priority priority, absl::string_view message, const LogFields& fields = {});

}  // namespace postern

#endif  // POSTERN_AGENT_SYSTEMD_LOG_H_
