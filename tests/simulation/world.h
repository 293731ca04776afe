// One run: a machine, the requests that it gets and what befalls it, all drawn
// from one seed.

#ifndef POSTERN_TESTS_SIMULATION_WORLD_H_
#define POSTERN_TESTS_SIMULATION_WORLD_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/host.h"
#include "tests/simulation/judge.h"
#include "tests/simulation/model.h"
#include "tests/support/random.h"

namespace postern::simulation {

// How a run ended.
struct Outcome {
  // The broken invariant; empty when all held.
  std::string violation;
  // One line a step, when asked for.
  std::vector<std::string> trace;
};

// Runs `steps` random steps of `seed`, then lets everything come to its end.
Outcome RunSeed(uint64_t seed, int steps, bool with_trace);

class World {
 public:
  World(uint64_t seed, bool with_trace);

  void Step();
  // The faults end, and then every grant.
  void Finish();
  std::vector<std::string> TakeTrace();

 private:
  // Steps.
  void SubmitSome();
  void PassSome();
  void BeKilled();
  void Restart();
  void StartAgain();
  void Reboot();
  void Suspend();
  void SetClock();
  void Trouble();
  void Tamper();
  void Connect();
  void Send();
  void GiveOrder();
  void LockDown();
  void LiftLockdown();

  // Requests.
  Request RandomRequest();
  GrantRequest NewGrant();
  std::vector<Prefix> SomeSources();
  std::string SomeId();

  void Submit(const std::vector<Request>& requests);
  void Answered(const OpenRequest& asked, Expected expected, bool repeat,
                const absl::StatusOr<Grant>& answer);
  void CheckSessions();
  // That none lives which `revoked` admitted and nothing else covered `when` it was
  // revoked: what ran out since then may have kept them.
  struct Owed {
    ModelGrant revoked;
    BootTime when;
    uint64_t step = 0;
    std::set<Flow> live = {};
  };
  void CheckEnded(const Owed& owed);
  void CheckOwed();
  // Adds to `owed_` what a crash left of the requests of the present step.
  void Owe(const Entry& entry, const Version& durable);
  Entry& EntryOf(absl::string_view id);

  void PlanFaults();
  void Pass(absl::Duration by, absl::Duration late);
  // The alarms that are due, `late` after they were.
  void RingAlarms(absl::Duration late);
  // Nothing fails, and has not for so long that all is mended.
  bool Well() const;
  void TellTableChanged();
  void NoteTrouble();
  // Whether the wall clock is to be believed.
  bool Trusted() const;
  // Before the daemon looks at its clocks.
  void Renew(bool starting = false);
  void TellClockChanged();
  // After each piece of the daemon's work: what the open requests came to.
  void Resolve();
  void ResolveCrashed(Entry& entry);
  void ResolveOrder();
  void ResolveLockdown();
  // Where a lockdown ended the grant, or did not.
  void TakeLockdown(Entry& entry, bool is_ended);
  void TakeRenewed(Entry& entry);
  void Check();
  void Tell(absl::string_view text);

  Random random_;
  Host host_;
  std::vector<Entry> entries_;
  Judge judge_;
  Now step_;
  int next_id_ = 1;
  uint16_t next_port_ = 40'000;
  // What the disk told of the time when the daemon started.
  std::optional<absl::Time> seen_before_start_;
  uint64_t step_number_ = 0;
  // The failures of the disk when the present step began.
  int failures_before_ = 0;
  bool faults_planned_ = false;
  // When something last failed.
  BootTime trouble_;
  // What was revoked with its sessions in the present step, and when.
  std::vector<Owed> revoked_;
  // The same, where the sessions could not be ended: a crash came before, or the
  // kernel refused. The next start does.
  // Only the sessions of that time: later ones may be somebody else's.
  std::vector<Owed> owed_;
  // Nothing is granted.
  bool locked_ = false;
  // The present step changes that.
  bool ordered_ = false;
  // The disk may have it otherwise, because it failed.
  bool order_behind_ = false;
  bool with_trace_;
  std::string story_;
  std::vector<std::string> trace_;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_WORLD_H_
