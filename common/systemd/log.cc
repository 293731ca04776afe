#include "common/systemd/log.h"

// The line belongs to whoever calls Log, not to this file.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/text.h"

namespace postern {
namespace {

enum class Destination { kJournal, kTerminal, kFile };

Destination StandardError() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream != nullptr && fstat(STDERR_FILENO, &status) == 0 &&
      absl::StrCat(status.st_dev, ":", status.st_ino) == stream) {
    return Destination::kJournal;
  }
  return isatty(STDERR_FILENO) == 1 ? Destination::kTerminal : Destination::kFile;
}

void LogToJournal(const LogLine& line) {
  std::vector<std::string> fields = {absl::StrCat("MESSAGE=", Printable(line.message)),
                                     absl::StrCat("PRIORITY=", static_cast<int>(line.priority))};
  for (const auto& [name, value] : line.fields) {
    fields.push_back(absl::StrCat(name, "=", Printable(value)));
  }
  std::vector<iovec> parts;
  for (std::string& field : fields) {
    parts.push_back({.iov_base = field.data(), .iov_len = field.size()});
  }
  sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

void WriteLine(std::string line) {
  line += '\n';
  // A terminal that is gone is no reason to stop guarding.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

std::string ToJson(const LogLine& line, absl::Time time) {
  nlohmann::ordered_json json;
  json["TIMESTAMP"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
  json["PRIORITY"] = absl::StrCat(static_cast<int>(line.priority));
  json["MESSAGE"] = Printable(line.message);
  for (const auto& [name, value] : line.fields) {
    nlohmann::ordered_json& member = json[name];
    if (member.is_null()) {
      member = Printable(value);
    } else {
      if (member.is_string()) member = nlohmann::ordered_json::array({member});
      member.push_back(Printable(value));
    }
  }
  return json.dump();
}

void Log(const LogLine& line) {
  static const Destination destination = StandardError();
  switch (destination) {
    case Destination::kJournal:
      return LogToJournal(line);
    case Destination::kTerminal:
      return WriteLine(absl::StrCat(program_invocation_short_name, ": ", Printable(line.message)));
    case Destination::kFile:
      return WriteLine(ToJson(line, absl::Now()));
  }
}

void Log(Priority priority, absl::string_view message) {
  Log(LogLine{.priority = priority, .message = std::string(message)});
}

}  // namespace postern
