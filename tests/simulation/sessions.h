// The simulated host's TCP connections.

#ifndef POSTERN_TESTS_SIMULATION_SESSIONS_H_
#define POSTERN_TESTS_SIMULATION_SESSIONS_H_

#include <set>
#include <utility>
#include <vector>

#include "agent/sessions/sessions.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/simulation/io.h"

namespace postern::simulation {

// FakeSessions with faults. One thread; `io` is borrowed.
class SimulatedSessions final : public Sessions {
 public:
  explicit SimulatedSessions(Io& io) : io_(io) {}

  absl::StatusOr<LiveFlows> ListLive(const std::vector<uint16_t>& ports) override {
    return sessions_.ListLive(ports);
  }

  absl::StatusOr<EndReport> End(const std::vector<EndedGrant>& ended,
                                const CoverageFunction& coverage,
                                const std::set<Flow>& spared) override {
    const Fate fate = io_.Begin("sessions");
    absl::StatusOr<EndReport> report = absl::UnavailableError("the simulated kernel refuses");
    if (!fate.refused) report = sessions_.End(ended, coverage, spared);
    failed_ = failed_ || fate.refused;
    sessions_.calls.clear();
    io_.End(fate, fate.refused ? "REFUSED" : "");
    return report;
  }

  std::set<Flow>& live() { return sessions_.live; }
  // Whether End was refused since the last call of this.
  bool TakeFailed() { return std::exchange(failed_, false); }

 private:
  Io& io_;
  FakeSessions sessions_;
  bool failed_ = false;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_SESSIONS_H_
