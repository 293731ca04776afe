// The doctor in a thread of its own.

#ifndef POSTERN_AGENT_RPC_EXAMINER_H_
#define POSTERN_AGENT_RPC_EXAMINER_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/doctor/diagnose.h"
#include "agent/doctor/finding.h"

namespace postern {

// Reading a host with many rules takes a good part of a second, and minutes of a
// kernel's time where many ask at once: one examination runs at a time, for all
// who ask meanwhile. The thread lives as long as the examination. Any thread.
class Examiner {
 public:
  using Examine = std::function<std::vector<Finding>(const Guard&)>;
  using Findings = absl::StatusOr<std::vector<Finding>>;
  using Take = std::function<void(const Findings&)>;

  // As many as may wait for one examination.
  static constexpr size_t kMostAskers = 32;

  explicit Examiner(Examine examine) : examine_(std::move(examine)) {}
  Examiner(const Examiner&) = delete;
  Examiner& operator=(const Examiner&) = delete;
  // Waits for the examination that runs, and its askers' answers.
  ~Examiner();

  // Calls `take` once: on the examination's thread, or at once with
  // RESOURCE_EXHAUSTED where it cannot be served. `take` must not ask again.
  void Ask(const Guard& guard, const Take& take);

 private:
  // Why there is nobody to wait for; OK where the examination runs that `guard`
  // asks for. With mutex_.
  absl::Status Begin(const Guard& guard);
  void Run(const Guard& guard);

  const Examine examine_;
  std::mutex mutex_;
  // Empty while nothing runs.
  std::vector<Take> askers_;
  Guard guard_;
  std::thread thread_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_EXAMINER_H_
