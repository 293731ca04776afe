// Reading and writing the small files that posternctl deals in: certificates
// and keys.

#ifndef POSTERN_CLI_FILES_H_
#define POSTERN_CLI_FILES_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern {

struct SmallFile {
  std::string content;
  // True when it is a regular file that its group or everyone may read.
  bool readable_by_others = false;
};

// Reads at most 256 KiB, refusing what is larger. Pipes will do.
absl::StatusOr<SmallFile> ReadSmallFile(const std::string& path);

// Makes a new file, complete and on the disk or not at all: the content goes to
// a temporary name beside it first. ALREADY_EXISTS, with nothing changed, when
// something has the name.
absl::Status WriteNewFile(const std::string& path, absl::string_view content, mode_t mode);

// Both files or neither.
struct NewFile {
  std::string path;
  std::string content;
  mode_t mode = 0600;
};
absl::Status WriteNewPair(const NewFile& first, const NewFile& second);

// Makes `path` (0700) unless it is there.
absl::Status EnsureDirectory(const std::string& path);

}  // namespace postern

#endif  // POSTERN_CLI_FILES_H_
