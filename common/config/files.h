// Reading the files of a configuration, bounded and careful about who may write
// them.

#ifndef POSTERN_COMMON_CONFIG_FILES_H_
#define POSTERN_COMMON_CONFIG_FILES_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern {

struct FileContent {
  std::string bytes;
  mode_t mode = 0;
};

// The content of a regular file of at most `max_bytes` that not everybody may
// write. Symbolic links are followed. The messages start with the path.
absl::StatusOr<FileContent> ReadSmallFile(const std::string& path, size_t max_bytes);

// Puts a small file in place whole and durably: at any moment, and after a power
// loss, the path has the old content or the new one.
absl::Status ReplaceFile(const std::string& path, absl::string_view content, mode_t mode);

// The paths of *.yaml in `directory` in the order of their bytes, without hidden
// ones; none where there is no such directory.
absl::StatusOr<std::vector<std::string>> ListDropIns(const std::string& directory);

}  // namespace postern

#endif  // POSTERN_COMMON_CONFIG_FILES_H_
