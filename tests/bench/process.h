// A program that runs beside the bench.

#ifndef POSTERN_TESTS_BENCH_PROCESS_H_
#define POSTERN_TESTS_BENCH_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/kernel/namespace.h"

namespace postern::bench {

// A file descriptor, closed with its owner.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();

  int get() const { return fd_; }

 private:
  int fd_;
};

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
  // Its standard error goes to the file `log`. To be called from the main
  // thread: the program is killed when the thread that started it ends.
  static absl::StatusOr<std::unique_ptr<Process>> Start(const Namespace& where,
                                                        const std::vector<std::string>& command,
                                                        const std::string& log);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  // Kills it.
  ~Process();

  pid_t pid() const { return pid_; }
  // Says so, with the end of its log, when it has ended.
  absl::Status Alive() const;

  // Context switches of each of its threads since it began.
  absl::StatusOr<std::map<std::string, uint64_t>> ContextSwitches() const;
  // Resident memory.
  absl::StatusOr<uint64_t> RssKib() const;

 private:
  Process(pid_t pid, std::string log) : pid_(pid), log_(std::move(log)) {}

  pid_t pid_;
  const std::string log_;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_PROCESS_H_
