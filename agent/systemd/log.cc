#include "agent/systemd/log.h"

// The line belongs to whoever calls Log, not to this file.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "common/text.h"

namespace postern {
namespace {

bool StandardErrorIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || fstat(STDERR_FILENO, &status) != 0) return false;
  return absl::StrCat(status.st_dev, ":", status.st_ino) == stream;
}

void LogToJournal(Priority priority, const std::string& message, const LogFields& fields) {
  std::vector<std::string> lines = {absl::StrCat("MESSAGE=", message),
                                    absl::StrCat("PRIORITY=", static_cast<int>(priority))};
  for (const auto& [name, value] : fields) lines.push_back(absl::StrCat(name, "=", value));
  std::vector<iovec> parts;
  for (std::string& line : lines)
    parts.push_back({.iov_base = line.data(), .iov_len = line.size()});
  sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

}  // namespace

void Log(Priority priority, absl::string_view message, const LogFields& fields) {
  static const bool to_journal = StandardErrorIsJournal();
  const std::string printable = Printable(message);
  if (to_journal) {
    LogToJournal(priority, printable, fields);
    return;
  }
  const std::string line = absl::StrCat("posternd: ", printable, "\n");
  // A terminal that is gone is no reason to stop guarding.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace postern
