// A disk in memory, on which SQLite keeps its files, and which loses what was not
// synced when its power goes.

#ifndef POSTERN_TESTS_FAKES_FAKE_DISK_H_
#define POSTERN_TESTS_FAKES_FAKE_DISK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/support/random.h"

struct sqlite3_vfs;

namespace postern {

// What a disk may do is what SQLite expects of one
// (https://www.sqlite.org/atomiccommit.html#hardware): of what was written since the last
// sync, any sectors may be there, whatever was written first; names that came or
// went since the folder was synced may have done so or not. One thread.
class FakeDisk {
 public:
  // SQLite's default while it lives; no other may.
  FakeDisk();
  ~FakeDisk();
  FakeDisk(const FakeDisk&) = delete;
  FakeDisk& operator=(const FakeDisk&) = delete;

  // The program or the machine stops with the I/O that comes after so many more that
  // change something. That one may be done or not, and everything fails from there on.
  void StopAfter(size_t changes) { stop_after_ = changes; }
  bool stopped() const { return stopped_; }
  // Only the program was killed: whatever it wrote is there, and synced before power goes.
  void Continue();
  // Power was gone: what is not synced is there or not.
  void PowerOn(Random& random);

  // There is no space for what is written.
  void Fill(bool on) { full_ = on; }
  // The I/O that comes after so many more that change something fails; it is done or not.
  void FailOnce(size_t after, bool done) { failure_ = {.after = after, .done = done}; }
  void FailNothing() { failure_.reset(); }

  // Syncs of files whose names end so are answered, and nothing is done.
  void IgnoreSyncs(absl::string_view suffix) { ignored_ = std::string(suffix); }

 private:
  // At `offset` there is `data` now; or the file ends there.
  struct Edit {
    size_t offset;
    std::optional<std::string> data;
  };
  struct File {
    std::string content;
    std::string synced;
    // Since then.
    std::vector<Edit> edits = {};
  };
  using Folder = std::map<std::string, std::shared_ptr<File>>;
  // What SQLite calls, with its names and its types.
  struct Vfs;

  struct Failure {
    size_t after;
    bool done;
  };
  struct Fate {
    bool done = true;
    bool failed = false;
  };

  // Of an I/O that changes something. One that stops all is done where `may_be_done`.
  Fate Next(bool may_be_done);
  static void Apply(const Edit& edit, std::string& content);
  // Some of the sectors.
  static void ApplyTorn(const Edit& edit, size_t percent, Random& random, std::string& content);
  static void Lose(File& file, Random& random);

  const std::unique_ptr<sqlite3_vfs> vfs_;
  sqlite3_vfs* const previous_;
  Folder names_;
  Folder synced_names_;
  std::optional<size_t> stop_after_;
  bool stopped_ = false;
  std::optional<Failure> failure_;
  bool full_ = false;
  Random salts_{1};
  std::optional<std::string> ignored_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_FAKES_FAKE_DISK_H_
