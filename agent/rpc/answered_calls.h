// How the calls of AgentService ended.

#ifndef POSTERN_AGENT_RPC_ANSWERED_CALLS_H_
#define POSTERN_AGENT_RPC_ANSWERED_CALLS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace postern {

// Calls of one method that were answered with one code.
struct AnsweredCalls {
  absl::string_view method;
  absl::StatusCode code = absl::StatusCode::kOk;
  uint64_t count = 0;

  friend bool operator==(const AnsweredCalls&, const AnsweredCalls&) = default;
};

// Any thread.
class AnsweredCallCounts {
 public:
  // `method` is borrowed for ever: a name in the table of methods.
  void Add(absl::string_view method, absl::StatusCode code);

  // Those that there were, by method and code.
  std::vector<AnsweredCalls> Read() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<absl::string_view, absl::StatusCode>, uint64_t> counts_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_ANSWERED_CALLS_H_
