// Runs a program from one of its effects to the next, and ends it between two.

#ifndef POSTERN_TESTS_KERNEL_DAEMON_STEPPER_H_
#define POSTERN_TESTS_KERNEL_DAEMON_STEPPER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/fd.h"
#include "tests/kernel/namespace.h"
#include "tests/kernel/process.h"

namespace postern {

// The effects are the system calls by which a program changes what outlives it or
// what others see: writes to files and their flushing, renames, and messages.
class Stepper {
 public:
  // As Process::Start; the program runs freely until KillAfter.
  static absl::StatusOr<std::unique_ptr<Stepper>> Start(const Namespace& where,
                                                        const std::vector<std::string>& command,
                                                        const std::string& log);
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;
  ~Stepper();

  // From now on `effects` more of them happen; the next one does not, and the
  // program is dead instead.
  void KillAfter(uint64_t effects);
  // Whether it was killed so.
  bool killed() const { return killed_; }
  Process& process() { return *process_; }

 private:
  Stepper() = default;
  void Attend();

  std::unique_ptr<Process> process_;
  // The kernel asks here before each effect.
  Fd requests_;
  Fd stop_;
  std::atomic<int64_t> left_;
  std::atomic<bool> killed_ = false;
  std::thread attendant_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_DAEMON_STEPPER_H_
