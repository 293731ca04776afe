// A directory for one test.

#ifndef POSTERN_TESTS_SUPPORT_TEMPORARY_DIRECTORY_H_
#define POSTERN_TESTS_SUPPORT_TEMPORARY_DIRECTORY_H_

#include <sys/types.h>

#include <string>

namespace postern {

// New and empty; removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  // Puts a file in place whole, as a careful renewal does, and returns its path.
  std::string Write(const std::string& name, const std::string& content, mode_t mode = 0600) const;

 private:
  std::string path_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_SUPPORT_TEMPORARY_DIRECTORY_H_
