// A program that a test runs beside itself.

#ifndef POSTERN_TESTS_KERNEL_PROCESS_H_
#define POSTERN_TESTS_KERNEL_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/fd.h"
#include "tests/kernel/namespace.h"

namespace postern {

// Moves the calling thread to another network namespace, and back.
class Inside {
 public:
  explicit Inside(const Namespace& where);
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside();

  const absl::Status& status() const { return status_; }

 private:
  const Fd home_;
  absl::Status status_;
};

class Process {
 public:
  // What it says goes to the file `log`. To be called from the main thread: the
  // program is killed when the thread that started it ends. `prepare` is the last
  // that the new process does before it becomes the program; between fork(2) and
  // execve(2) of a process with threads only system calls are safe.
  static absl::StatusOr<std::unique_ptr<Process>> Start(
      const Namespace& where, const std::vector<std::string>& command, const std::string& log,
      absl::FunctionRef<void()> prepare = [] {});
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  // Kills it.
  ~Process();

  pid_t pid() const { return pid_; }
  // Says so, with its log, when it has ended.
  absl::Status Alive() const;
  // What it has said so far.
  std::string Log() const;

  void Signal(int number) const;
  // Its exit status, or 128 and the signal that ended it; DEADLINE_EXCEEDED when
  // it has not ended within `patience`.
  absl::StatusOr<int> Wait(absl::Duration patience);
  // SIGKILL, and waits for the end.
  void Kill();

  // Context switches of each of its threads since it began.
  absl::StatusOr<std::map<std::string, uint64_t>> ContextSwitches() const;
  // Resident memory.
  absl::StatusOr<uint64_t> RssKib() const;
  // The most it ever had.
  absl::StatusOr<uint64_t> PeakRssKib() const;

 private:
  Process(pid_t pid, std::string log) : pid_(pid), log_(std::move(log)) {}

  const pid_t pid_;
  const std::string log_;
  // Set once it has been waited for.
  std::optional<int> status_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_PROCESS_H_
