#include "tests/simulation/world.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "tests/support/grants.h"

namespace postern::simulation {
namespace {

// By when the daemon has tried again what failed.
constexpr absl::Duration kMendedWithin = absl::Milliseconds(1100);
// An alarm that rings so often at one moment never lets the loop sleep.
constexpr int kMostAlarms = 20;

// Of so many seeds, one has the ledger in files: it takes that much longer.
constexpr uint64_t kWithFiles = 4;

void Append(std::vector<Version>& to, const std::vector<Version>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace

Outcome RunSeed(uint64_t seed, int steps, bool with_trace) {
  World world(seed, with_trace);
  Outcome outcome;
  try {
    for (int i = 0; i < steps; ++i) world.Step();
    world.Finish();
  } catch (const Violation& violation) {
    outcome.violation = violation.what;
  }
  outcome.trace = world.TakeTrace();
  return outcome;
}

World::World(uint64_t seed, bool with_trace)
    : random_(seed),
      host_(random_, /*files=*/seed % kWithFiles == 0),
      judge_(host_, entries_),
      with_trace_(with_trace) {
  host_.io.Observe([this] {
    if (!host_.kernel.tampered()) judge_.NothingMore();
  });
  host_.disk.AskTrust([this] {
    return Trusted() || std::none_of(entries_.begin(), entries_.end(), [](const Entry& entry) {
             return entry.now && entry.now->withheld;
           });
  });
  if (with_trace_) host_.io.TellTo(&story_);
  if (!host_.Start()) throw Violation{"the daemon does not start"};
  step_ = host_.clock.Read();
}

void World::Tell(absl::string_view text) {
  if (with_trace_) host_.io.Tell(text);
}

std::vector<std::string> World::TakeTrace() {
  if (!story_.empty()) trace_.push_back(std::exchange(story_, {}));
  return std::move(trace_);
}

Entry& World::EntryOf(absl::string_view id) {
  for (Entry& entry : entries_) {
    if (entry.id == id) return entry;
  }
  Entry entry;
  entry.id = std::string(id);
  entries_.push_back(std::move(entry));
  return entries_.back();
}

bool World::Well() const {
  const BootTime now = host_.clock.Read().boot;
  return !faults_planned_ && host_.kernel.well() && host_.disk.well() &&
         host_.kernel.last_fault() + kMendedWithin < now && trouble_ + kMendedWithin < now;
}

void World::NoteTrouble() {
  if (faults_planned_ || !host_.disk.well() || !host_.kernel.well()) {
    trouble_ = host_.clock.Read().boot;
  }
}

bool World::Trusted() const {
  const std::optional<absl::Time> seen = host_.disk.last_seen();
  return host_.clock.IsSynchronised() || !seen || *seen <= host_.clock.Read().wall;
}

void World::Renew(bool starting) {
  step_ = host_.clock.Read();
  judge_.Begin(step_);
  for (Entry& entry : entries_) {
    entry.renewed = Renewed(entry.now, step_, Trusted(), seen_before_start_);
    // What a lockdown could not end ends when it would live anew.
    const bool revives = starting || (entry.now && entry.now->withheld && Trusted());
    if (!locked_ || !revives) continue;
    entry.renewed = After(entry.renewed,
                          RevokeGrant{.id = entry.id, .keep_sessions = false, .reason = ""}, step_);
  }
}

// ---- Requests ----------------------------------------------------------------

void World::Submit(const std::vector<Request>& requests) {
  step_ = host_.clock.Read();
  ++step_number_;
  judge_.Begin(step_);
  // What is answered where nothing fails: each request meets what those before
  // it would have made.
  const GatekeeperOptions options = Options();
  std::vector<Expected> expected;
  std::vector<bool> repeats;
  std::vector<std::pair<std::string, Version>> planned;
  size_t live = 0;
  for (const Entry& entry : entries_) {
    planned.emplace_back(entry.id, entry.now);
    if (entry.now && entry.now->LiveAt(step_.boot)) ++live;
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    const Request& request = requests[i];
    const std::string id(IdOf(request));
    Tell(simulation::Describe(request));
    EntryOf(id).open.push_back({.request = request, .number = i});
    auto it = std::find_if(planned.begin(), planned.end(),
                           [&](const auto& entry) { return entry.first == id; });
    if (it == planned.end()) it = planned.insert(planned.end(), {id, Version()});
    expected.push_back(Expect(it->second, request, step_, live, options.limits));
    if (locked_ && !it->second && std::holds_alternative<CreateGrant>(request)) {
      expected.back() = Expected::kRefused;
    }
    repeats.push_back(false);
    if (expected.back() != Expected::kAccepted) continue;
    const bool was_live = it->second && it->second->LiveAt(step_.boot);
    const Version after = After(it->second, request, step_);
    repeats.back() = after == it->second;
    it->second = after;
    const bool is_live = it->second && it->second->LiveAt(step_.boot);
    live += is_live && !was_live ? 1 : 0;
    live -= was_live && !is_live ? 1 : 0;
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    const absl::Status sent = host_.mailbox.Submit(
        {.request = requests[i],
         .actor = "tester",
         .done = [this, asked = OpenRequest{.request = requests[i], .number = i},
                  expected = expected[i],
                  repeat = repeats[i]](const absl::StatusOr<Grant>& answer) {
           Answered(asked, expected, repeat, answer);
         }});
    if (!sent.ok()) throw Violation{absl::StrCat("the mailbox refuses: ", sent.message())};
  }
  host_.Drain();
  Resolve();
}

void World::Answered(const OpenRequest& asked, Expected expected, bool repeat,
                     const absl::StatusOr<Grant>& answer) {
  const Request& request = asked.request;
  const Fate fate = host_.io.Begin("answer");
  Entry& entry = EntryOf(IdOf(request));
  const Version before = entry.now;
  // A repeat is answered last, with what the grant is by then; but one of what was refused
  // is none any more.
  const bool may_be_late =
      std::any_of(entry.open.begin(), entry.open.end(),
                  [&](const OpenRequest& o) { return o.refused && o.number < asked.number; });
  if (repeat && may_be_late && answer.ok()) {
    repeat = Matches(&*answer, before, host_.clock.Read(), host_.clock.BootId());
  }
  const Version after = repeat ? before : After(before, request, step_);
  // Those for one grant are answered in order, but for the refused ones.
  const auto open = std::find_if(entry.open.begin(), entry.open.end(), [&](const OpenRequest& o) {
    return !o.refused && o.number == asked.number;
  });
  if (open == entry.open.end()) throw Violation{"a request is answered twice"};
  if (!answer.ok()) {
    open->refused = true;
    if (expected == Expected::kAccepted && Well() && !host_.kernel.uncertain()) {
      throw Violation{absl::StrCat(simulation::Describe(request),
                                   " is refused where nothing fails: ", answer.status().message())};
    }
    host_.io.End(fate, absl::StrCat("refused (", answer.status().message(), ")"));
    return;
  }
  if (expected == Expected::kRefused) {
    throw Violation{absl::StrCat("I2: ", simulation::Describe(request), " is accepted")};
  }
  const bool revokes = std::holds_alternative<RevokeGrant>(request);
  if (revokes && answer->state == GrantState::kActive) {
    throw Violation{absl::StrCat("I2: ", simulation::Describe(request),
                                 " is acknowledged, and the grant is active")};
  }
  entry.open.erase(open);
  if (!repeat) {
    entry.was = before;
    entry.was_until = step_number_;
    entry.was_late = may_be_late;
  }
  entry.now = after;
  if (!repeat) entry.untold = false;
  if (!repeat) entry.kernel.clear();
  if (!Matches(&*answer, after, host_.clock.Read(), host_.clock.BootId())) {
    throw Violation{
        absl::StrCat("I4: ", simulation::Describe(request), " is answered with another grant")};
  }
  // A withdrawal does not wait for the disk.
  if (revokes && host_.disk.failures() > failures_before_) {
    entry.behind.push_back(before);
  }
  // Both have what the last of a batch's requests made of the grant, and what was
  // refused may still be there to be taken back.
  if (entry.open.empty()) {
    judge_.Disk(entry);
    judge_.NothingLess(entry);
    judge_.NothingMore();
  }
  host_.io.End(fate, "ok");
  if (const auto* revoke = std::get_if<RevokeGrant>(&request)) {
    if (!repeat && !revoke->keep_sessions && after->state == GrantState::kRevoked) {
      revoked_.push_back({*after, step_.boot, step_number_});
    }
  }
}

void World::CheckEnded(const Owed& owed) {
  for (const Flow& flow : host_.sessions.live()) {
    if (host_.older().contains(flow) || !owed.live.contains(flow)) continue;
    if (!owed.revoked.HasCovered(flow.remote, Protocol::kTcp, flow.local_port)) continue;
    const auto covers = [&](const Version& version) {
      return version && version->LivedAt(owed.when) &&
             version->Covers(flow.remote, Protocol::kTcp, flow.local_port);
    };
    const bool covered = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      const bool was_then =
          entry.was_until > owed.step || (entry.was_until == owed.step && entry.was_late);
      return covers(entry.now) || (was_then && covers(entry.was));
    });
    if (!covered) {
      throw Violation{absl::StrCat("I1: the revoke of ", owed.revoked.asked.id,
                                   " is in force, and a session from ", flow.remote.ToString(),
                                   " lives on")};
    }
  }
}

// Whoever revokes may believe the answer: the sessions are gone.
void World::CheckSessions() {
  const bool failed = host_.sessions.TakeFailed();
  for (Owed& owed : std::exchange(revoked_, {})) {
    owed.live = host_.sessions.live();
    if (failed) {
      owed_.push_back(std::move(owed));
    } else {
      CheckEnded(owed);
    }
  }
}

// What a start makes good.
void World::CheckOwed() {
  if (!host_.alive() || host_.sessions.TakeFailed()) return;
  for (const Owed& owed : std::exchange(owed_, {})) {
    // One that a full disk did not take is forgotten.
    const Grant* durable = host_.disk.Find(owed.revoked.asked.id);
    if (durable != nullptr && durable->state == GrantState::kRevoked) {
      CheckEnded(owed);
    }
  }
}

// ---- What the open questions came to ------------------------------------------

void World::Owe(const Entry& entry, const Version& durable) {
  if (!durable || durable->state != GrantState::kRevoked) return;
  // An earlier revoke that was refused, perhaps one that keeps sessions, may be what
  // the disk has.
  const bool was_behind = std::any_of(
      entry.behind.begin(), entry.behind.end(),
      [](const Version& version) { return version && version->state == GrantState::kRevoked; });
  if (was_behind) return;
  bool revokes = false;
  for (const Request& request : entry.Open()) {
    const auto* revoke = std::get_if<RevokeGrant>(&request);
    // Where several ask for it, the first one counts, and it may have been refused.
    if (revoke != nullptr && revoke->keep_sessions) return;
    revokes = revokes || revoke != nullptr;
  }
  if (revokes && entry.now && entry.now->state == GrantState::kActive) {
    owed_.push_back({*durable, step_.boot, step_number_, host_.sessions.live()});
  }
}

void World::ResolveCrashed(Entry& entry) {
  std::vector<Version> candidates = Outcomes(entry.now, entry.Unanswered(), step_);
  if (entry.renewed) candidates.push_back(entry.renewed);
  Append(candidates, entry.behind);
  if (host_.disk.leftover_found()) Append(candidates, entry.leftover);
  // What the kernel refused is answered before it is taken back.
  if (host_.disk.leftover_found() || host_.kernel.last_fault() >= step_.boot ||
      host_.disk.failures() > failures_before_) {
    Append(candidates, Outcomes(entry.now, entry.Open(), step_));
  }
  const Grant* durable = host_.disk.Find(entry.id);
  const auto found =
      std::find_if(candidates.begin(), candidates.end(), [&](const Version& version) {
        return Matches(durable, version, host_.clock.Read(), host_.clock.BootId());
      });
  if (found == candidates.end()) {
    throw Violation{absl::StrCat("I3/I4: after the crash, grant ", entry.id,
                                 " is neither as it was nor as it was to be")};
  }
  const Version now = *found;
  Owe(entry, now);
  entry.was = entry.now;
  entry.was_until = step_number_;
  entry.was_late = false;
  Append(entry.kernel, candidates);
  if (host_.kernel.uncertain()) {
    Append(entry.kernel, Outcomes(entry.now, entry.Open(), step_));
  }
  entry.now = now;
}

// A grant that waits for a clock to be trusted may go on waiting; the others have
// the end by now that both clocks give them.
void World::TakeRenewed(Entry& entry) {
  if (!entry.renewed) return;
  const Grant* durable = host_.disk.Find(entry.id);
  if (entry.now->withheld &&
      !Matches(durable, entry.renewed, host_.clock.Read(), host_.clock.BootId())) {
    return;
  }
  if (host_.kernel.uncertain()) entry.kernel.push_back(entry.now);
  // What a start found is in force, and recorded when the disk takes it.
  if (host_.disk.failures() > failures_before_) entry.behind.push_back(entry.now);
  entry.now = entry.renewed;
}

void World::Resolve() {
  for (Entry& entry : entries_) {
    if (!host_.alive()) {
      ResolveCrashed(entry);
    } else if (entry.HasUnanswered()) {
      throw Violation{
          absl::StrCat(simulation::Describe(entry.Unanswered().front()), " is never answered")};
    } else {
      TakeRenewed(entry);
      const std::vector<Version> outcomes = Outcomes(entry.now, entry.Open(), step_);
      if (host_.kernel.uncertain()) Append(entry.kernel, outcomes);
      if (host_.disk.has_leftover()) {
        Append(entry.leftover, outcomes);
        if (entry.renewed) entry.leftover.push_back(entry.renewed);
      }
      // Taken back once the disk takes it and it is known what the kernel holds.
      if (host_.disk.failures() > failures_before_ || host_.kernel.uncertain()) {
        Append(entry.behind, outcomes);
        entry.untold = entry.untold || !entry.open.empty();
      }
    }
    entry.renewed.reset();
    entry.open.clear();
    if (!host_.disk.has_leftover()) entry.leftover.clear();
    if (host_.alive() && !host_.kernel.uncertain() && !host_.kernel.tampered())
      entry.kernel.clear();
  }
  ResolveLockdown();
  failures_before_ = host_.disk.failures();
  NoteTrouble();
  Check();
}

void World::Check() {
  if (!host_.kernel.tampered()) {
    judge_.NothingMore();
    judge_.NothingLess();
  }
  judge_.Disk();
  for (Entry& entry : entries_) {
    const Grant* durable = host_.disk.Find(entry.id);
    if (!Matches(durable, entry.now, host_.clock.Read(), host_.clock.BootId())) continue;
    if (!host_.kernel.uncertain() && !host_.disk.last_failed()) entry.behind.clear();
    if (durable != nullptr) entry.now->state = durable->state;
  }
}

// ---- Time ----------------------------------------------------------------------

void World::RingAlarms(absl::Duration late) {
  NoteTrouble();
  for (int rung = 0; host_.alive(); ++rung) {
    const std::optional<BootTime> alarm = host_.gatekeeper().NextAlarm();
    if (!alarm || host_.clock.Read().boot < *alarm + late) break;
    if (rung == kMostAlarms) throw Violation{"the loop never sleeps"};
    Renew();
    host_.Alarm();
    Resolve();
  }
  if (!host_.alive() || late > absl::ZeroDuration() || !Well()) return;
  if (host_.kernel.tampered()) throw Violation{"I5: what another program did is not repaired"};
  judge_.Punctual();
  judge_.EndsRecorded();
  if (host_.kernel.uncertain()) throw Violation{"I5: the kernel's table is not repaired"};
}

void World::Pass(absl::Duration by, absl::Duration late) {
  const BootTime until = host_.clock.Read().boot + by;
  while (true) {
    RingAlarms(late);
    if (!host_.kernel.tampered()) {
      judge_.NothingMore();
      judge_.NothingLess();
    }
    const BootTime now = host_.clock.Read().boot;
    if (until <= now) return;
    // The moments that matter: just before and after an end, and the alarm.
    BootTime next = until;
    const auto stop_at = [&](BootTime moment) {
      if (now < moment && moment < next) next = moment;
    };
    for (const Entry& entry : entries_) {
      if (!entry.now || entry.now->state != GrantState::kActive) continue;
      stop_at(entry.now->deadline - absl::Nanoseconds(1));
      stop_at(entry.now->deadline + kMostLate + absl::Nanoseconds(1));
    }
    if (host_.alive()) {
      if (const std::optional<BootTime> alarm = host_.gatekeeper().NextAlarm()) {
        stop_at(*alarm + late);
      }
    }
    host_.clock.Advance(next - now);
  }
}

}  // namespace postern::simulation
