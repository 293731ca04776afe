#include "tests/support/temporary_directory.h"

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace postern {

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = std::filesystem::temp_directory_path() / "postern-test-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    std::perror("mkdtemp");
    std::abort();
  }
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::Write(const std::string& name, const std::string& content,
                                      mode_t mode) const {
  const std::string path = Path(name);
  const std::string draft = path + ".new";
  std::ofstream(draft, std::ios::binary) << content;
  chmod(draft.c_str(), mode);
  std::filesystem::rename(draft, path);
  return path;
}

}  // namespace postern
