// Lines for the journal, with its fields; as JSON; or for a terminal.

#ifndef POSTERN_COMMON_SYSTEMD_LOG_H_
#define POSTERN_COMMON_SYSTEMD_LOG_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace postern {

// syslog(3)'s numbers.
enum class Priority { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6 };

// Journal fields: NAME (upper case, digits, underscores) and value. A name may
// come more than once.
using LogFields = std::vector<std::pair<std::string, std::string>>;

struct LogLine {
  Priority priority = Priority::kInfo;
  std::string message;
  LogFields fields = {};

  friend bool operator==(const LogLine&, const LogLine&) = default;
};

// Writes one line: to the journal when standard error is connected to it
// (JOURNAL_STREAM, systemd.exec(5)); otherwise to standard error, the message
// alone on a terminal, and else ToJson. Message and values are made Printable.
// Any thread.
void Log(const LogLine& line);
void Log(Priority priority, absl::string_view message);

// One JSON object without a line's end, its members as journalctl -o json names
// and writes them: TIMESTAMP (the wall clock, RFC 3339, UTC, microseconds),
// PRIORITY, MESSAGE and the fields, each a string, or an array of strings where
// its name comes more than once; all made Printable.
std::string ToJson(const LogLine& line, absl::Time time);

}  // namespace postern

#endif  // POSTERN_COMMON_SYSTEMD_LOG_H_
