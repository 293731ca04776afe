// Keys and certificates for tests, and a directory to put them in.

#ifndef POSTERN_TESTS_UNIT_CONFIG_PEM_FILES_H_
#define POSTERN_TESTS_UNIT_CONFIG_PEM_FILES_H_

#include <sys/types.h>

#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace postern {

// A new directory, removed with all that is in it.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  // The path of `name` in it.
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file, with the directories it needs, and returns its path.
  std::string Write(const std::string& name, const std::string& content, mode_t mode = 0600) const;

 private:
  std::string path_;
};

// A key and its self-signed certificate, PEM.
struct KeyPair {
  std::string key;
  std::string cert;
};
KeyPair MakeKeyPair(absl::Time end = absl::Now() + absl::Hours(1));

// The key of a pair, encrypted with a passphrase.
std::string Encrypted(const KeyPair& pair);

}  // namespace postern

#endif  // POSTERN_TESTS_UNIT_CONFIG_PEM_FILES_H_
