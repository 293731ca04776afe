// Live sessions as a list that the test fills.

#ifndef POSTERN_TESTS_FAKES_FAKE_SESSIONS_H_
#define POSTERN_TESTS_FAKES_FAKE_SESSIONS_H_

#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/sessions/sessions.h"

namespace postern {

// One thread.
class FakeSessions final : public Sessions {
 public:
  absl::StatusOr<LiveFlows> ListLive(const std::vector<uint16_t>& ports) override;
  // Destroys the sockets of `live` that an ended grant covers, nothing covers
  // any more and nobody spares.
  absl::StatusOr<EndReport> End(const std::vector<EndedGrant>& ended,
                                const CoverageFunction& coverage,
                                const std::set<Flow>& spared) override;

  // While this is an error, both calls answer it.
  void Fail(absl::Status status) { failure_ = std::move(status); }

  // The TCP connections there are.
  std::set<Flow> live;
  // Those of which another one had the addresses and ports before; 0 for the rest.
  LiveFlows cookies;
  // What End was asked for, call by call.
  std::vector<std::vector<EndedGrant>> calls;

 private:
  absl::Status failure_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_FAKES_FAKE_SESSIONS_H_
