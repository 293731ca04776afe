#include "agent/rpc/examiner.h"

#include <pthread.h>

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace postern {

Examiner::~Examiner() {
  if (thread_.joinable()) thread_.join();
}

void Examiner::Ask(const Guard& guard, const Take& take) {
  absl::Status status;
  {
    const std::lock_guard lock(mutex_);
    status = Begin(guard);
    if (status.ok()) askers_.push_back(take);
  }
  if (!status.ok()) take(status);
}

absl::Status Examiner::Begin(const Guard& guard) {
  if (askers_.empty()) {
    // It has handed over its findings, and has nothing left to do but answer.
    if (thread_.joinable()) thread_.join();
    guard_ = guard;
    try {
      thread_ = std::thread([this, guard] { Run(guard); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(
          absl::StrCat("examining the host needs a thread: ", error.what()));
    }
    return absl::OkStatus();
  }
  if (askers_.size() < kMostAskers && guard_ == guard) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      "the host is being examined, for others or by the settings of before; ask again in a second");
}

void Examiner::Run(const Guard& guard) {
  pthread_setname_np(pthread_self(), "doctor");
  const Findings findings = examine_(guard);
  std::vector<Take> askers;
  {
    const std::lock_guard lock(mutex_);
    askers = std::exchange(askers_, {});
  }
  for (const Take& take : askers) take(findings);
}

}  // namespace postern
