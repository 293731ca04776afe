#include "agent/rpc/answered_calls.h"

namespace postern {

void AnsweredCallCounts::Add(absl::string_view method, absl::StatusCode code) {
  const std::lock_guard lock(mutex_);
  ++counts_[{method, code}];
}

std::vector<AnsweredCalls> AnsweredCallCounts::Read() const {
  const std::lock_guard lock(mutex_);
  std::vector<AnsweredCalls> calls;
  calls.reserve(counts_.size());
  for (const auto& [key, count] : counts_) {
    calls.push_back({.method = key.first, .code = key.second, .count = count});
  }
  return calls;
}

}  // namespace postern
