// Holds what the machine's kernel and disk hold against what the model says.

#ifndef POSTERN_TESTS_SIMULATION_JUDGE_H_
#define POSTERN_TESTS_SIMULATION_JUDGE_H_

#include <optional>
#include <vector>

#include "common/clock.h"
#include "tests/simulation/host.h"
#include "tests/simulation/model.h"

namespace postern::simulation {

// Each check throws Violation, which names the invariant. One thread; both are
// borrowed.
class Judge {
 public:
  Judge(const Host& host, const std::vector<Entry>& entries) : host_(host), entries_(entries) {}

  // Starts a step: requests are decided at `now`.
  void Begin(const Now& now) { step_ = now; }

  // I1, I2, I4: nothing is admitted that is not granted and durable, nor longer.
  void NothingMore() const;
  // I3: everything that is granted, whatever the open questions' answers are, is
  // admitted until its end.
  void NothingLess() const;
  void NothingLess(const Entry& entry) const;
  // The daemon has had the time to do what is due: what ended is closed also
  // where the machine slept.
  void Punctual() const;
  // I4: the disk says of each grant what was acknowledged, and how it ended.
  void Disk() const;
  void Disk(const Entry& entry) const;
  // Every end that has come is recorded.
  void EndsRecorded() const;
  // What the daemon says about `source` is what the model says.
  void Answers(const Address& source, Protocol protocol, uint16_t port) const;
  // Nothing is left: no elements, no sets, no live grant.
  void Empty() const;

 private:
  using Element = SimulatedKernel::Element;

  // The latest end that anything gives this element; empty when nothing does.
  std::optional<BootTime> LatestEnd(const Element& element) const;

  const Host& host_;
  const std::vector<Entry>& entries_;
  Now step_;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_JUDGE_H_
