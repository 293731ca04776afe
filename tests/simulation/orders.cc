// The steps that give orders which stand: a lockdown, and its end.

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"

namespace postern::simulation {

void World::GiveOrder() {
  // A repeat ends what could not be ended before.
  if (locked_ && !random_.Chance(30)) {
    LiftLockdown();
  } else {
    LockDown();
  }
}

// To the model a lockdown is a revoke of each grant that lives or waits, in one
// batch, and that nothing is granted from then on.
void World::LockDown() {
  Tell("lockdown");
  step_ = host_.clock.Read();
  judge_.Begin(step_);
  size_t number = 0;
  for (Entry& entry : entries_) {
    if (!entry.now || entry.now->state != GrantState::kActive) continue;
    if (!entry.now->withheld && !entry.now->LiveAt(step_.boot)) continue;
    const RevokeGrant revoke{.id = entry.id, .keep_sessions = false, .reason = ""};
    entry.open.push_back({.request = revoke, .number = number++});
  }
  ordered_ = true;
  const absl::Status sent = host_.mailbox.Ask([this](Gatekeeper& gatekeeper) {
    const absl::StatusOr<size_t> ended = gatekeeper.LockDown("", "tester");
    if (!ended.ok() && Well() && !host_.kernel.uncertain()) {
      throw Violation{
          absl::StrCat("a lockdown is refused where nothing fails: ", ended.status().message())};
    }
    const Fate fate = host_.io.Begin("answer");
    locked_ = true;
    for (Entry& entry : entries_) {
      if (entry.open.empty()) continue;
      const absl::StatusOr<Grant> now = gatekeeper.Get(entry.id);
      const bool is_ended = ended.ok() || (now.ok() && now->state == GrantState::kRevoked);
      TakeLockdown(entry, is_ended);
    }
    host_.io.End(fate,
                 ended.ok() ? "ok" : absl::StrCat("refused (", ended.status().message(), ")"));
  });
  if (!sent.ok()) throw Violation{absl::StrCat("the mailbox refuses: ", sent.message())};
  host_.Drain();
  ResolveOrder();
}

void World::TakeLockdown(Entry& entry, bool is_ended) {
  if (!is_ended) {
    entry.open.front().refused = true;
    return;
  }
  const Version before = entry.now;
  entry.now = After(before, entry.open.front().request, step_);
  entry.open.clear();
  entry.kernel.clear();
  entry.untold = false;
  if (host_.disk.failures() > failures_before_) entry.behind.push_back(before);
  revoked_.push_back({*entry.now, step_.boot, step_number_});
}

void World::LiftLockdown() {
  Tell("the lockdown is lifted");
  step_ = host_.clock.Read();
  judge_.Begin(step_);
  ordered_ = true;
  const absl::Status sent = host_.mailbox.Ask([this](Gatekeeper& gatekeeper) {
    const absl::Status lifted = gatekeeper.LiftLockdown("tester");
    if (!lifted.ok() && Well() && !host_.kernel.uncertain()) {
      throw Violation{
          absl::StrCat("the end of a lockdown is refused where nothing fails: ", lifted.message())};
    }
    const Fate fate = host_.io.Begin("answer");
    if (lifted.ok()) locked_ = false;
    host_.io.End(fate, lifted.ok() ? "ok" : "refused");
  });
  if (!sent.ok()) throw Violation{absl::StrCat("the mailbox refuses: ", sent.message())};
  host_.Drain();
  ResolveOrder();
}

void World::ResolveOrder() {
  const bool failed = host_.disk.failures() > failures_before_;
  Resolve();
  order_behind_ = order_behind_ || failed;
  ordered_ = false;
}

// What is durable of the order, once the daemon is dead.
void World::ResolveLockdown() {
  const bool durable = host_.disk.locked_down();
  if (host_.alive()) {
    if (!host_.disk.last_failed() && durable == locked_) order_behind_ = false;
    return;
  }
  const bool may_differ = ordered_ || order_behind_ || host_.disk.leftover_found();
  if (durable != locked_ && !may_differ) {
    throw Violation{durable ? "I3: a lockdown that was lifted stands after a crash"
                            : "I3: a lockdown is forgotten by a crash"};
  }
  locked_ = durable;
  order_behind_ = false;
}

}  // namespace postern::simulation
