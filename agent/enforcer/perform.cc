// From a decided change to its answer: record, program, announce.

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/changes.h"
#include "agent/enforcer/gatekeeper.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kInDoubt[] =
    "programming the firewall, which does not say what it holds now: the change is taken back as "
    "soon as it does, but a restart before that would put it in force";
constexpr char kFirewallInDoubt[] =
    "what the kernel's firewall holds is in doubt, and it takes no changes; the log says why, and "
    "it is tried again every second";
constexpr char kRefusedBefore[] = "the change before it, to the same grant, was refused";

}  // namespace

bool Gatekeeper::RefuseInDoubt(std::vector<Command>& commands) {
  // A command is a reason not to wait for the next try.
  if (resync_wanted_) Resync();
  if (!resync_wanted_) return false;
  for (Command& command : commands) command.done(absl::UnavailableError(kFirewallInDoubt));
  return true;
}

void Gatekeeper::PutInLedger(const Change& change) {
  if (change.after.state == GrantState::kActive) {
    ledger_.Put(change.after);
  } else {
    ledger_.Remove(change.after.id);
  }
}

void Gatekeeper::PutBackInLedger(const Change& change) {
  if (change.before && !IsWithheld(change.before->id)) {
    ledger_.Put(*change.before);
  } else {
    ledger_.Remove(change.after.id);
  }
}

std::vector<Command> Gatekeeper::Perform(Batch batch, const Now& now) {
  std::vector<Command> again;
  std::vector<Change>& changes = batch.changes;
  just_ended_.clear();
  const absl::Status recorded = Record(changes);
  if (!recorded.ok()) KeepWithdrawals(changes, recorded, now, again);
  // Taking back what was refused before must not undo these.
  for (Refused& refused : refused_) {
    if (HasChangeOf(changes, refused.change.after.id)) refused.superseded = true;
  }
  Program(changes, now, again);
  // Whoever revokes may believe the answer: the sessions are gone.
  EndSessionsOf(changes);
  for (const Change& change : changes) change.command.done(change.after);
  for (Repeat& repeat : batch.repeats) {
    const bool follows_refused =
        repeat.follows && std::none_of(changes.begin(), changes.end(), [&](const Change& change) {
          return change.after == *repeat.follows;
        });
    if (follows_refused) {
      again.push_back(std::move(repeat.command));
    } else {
      repeat.command.done(Get(repeat.id));
    }
  }
  std::set<absl::string_view> ended;
  for (const Change& change : changes) {
    if (change.after.state == GrantState::kActive) continue;
    usage_.Forget(change.after.id);
    ended.insert(change.after.id);
  }
  std::erase_if(withheld_, [&](const Grant& grant) { return ended.contains(grant.id); });
  AnnounceRecorded();
  return again;
}

void Gatekeeper::AnnounceRecorded() {
  for (const AuditEvent& event : std::exchange(announcements_, {})) with_.announce(event);
}

absl::Status Gatekeeper::Record(const std::vector<Change>& changes) {
  if (changes.empty()) return absl::OkStatus();
  std::vector<Write> writes;
  writes.reserve(changes.size());
  for (const Change& change : changes) writes.push_back(WriteOf(change.after, change.event));
  return Commit(writes);
}

absl::Status Gatekeeper::Commit(std::vector<Write>& writes) {
  const auto waiting = static_cast<std::ptrdiff_t>(unrecorded_.size());
  writes.insert(writes.begin(), unrecorded_.writes().begin(), unrecorded_.writes().end());
  uint64_t number = audit_number_;
  for (Write& write : writes) {
    if (write.audit) write.audit->number = ++number;
  }
  const Now now = with_.clock.Read();
  if (!marked_.empty()) {
    Write write;
    write.sessions_ended = marked_;
    writes.push_back(std::move(write));
  }
  const std::optional<absl::Time> seen = TimeToRecord(now);
  if (seen && !writes.empty()) writes.back().seen = seen;
  const std::optional<BootClock> clock = ClockToRecord(now);
  if (clock && !writes.empty()) writes.back().clock = clock;
  const absl::Status status = with_.store.Commit(writes);
  Observe(commit_latency_, now.boot);
  if (!status.ok()) {
    writes.erase(writes.begin(), writes.begin() + waiting);
    if (!marked_.empty()) writes.pop_back();
    return status;
  }
  const bool trusted = withheld_.empty() || WhyClockIsNotTrusted(now).empty();
  audit_number_ = number;
  recorded_at_ = now.boot;
  unrecorded_.Clear();
  marked_.clear();
  for (Write& write : writes) {
    if (trusted && write.audit) last_seen_ = write.audit->time;
    if (trusted && write.seen) last_seen_ = write.seen;
    if (write.seen) recorded_time_ = write.seen;
    if (write.clock) recorded_clock_ = write.clock;
    if (write.audit) announcements_.push_back(*std::move(write.audit));
  }
  return absl::OkStatus();
}

// The store knows the time of its last event. That is too early where the clock
// is not trusted, by which grants wait: it must not become what the clock is
// judged by at the next start. And a clock that was set back is told apart from
// one that went wrong by what was written after.
std::optional<absl::Time> Gatekeeper::TimeToRecord(const Now& now) const {
  if (!withheld_.empty() && !WhyClockIsNotTrusted(now).empty()) return last_seen_;
  if (recorded_time_ && now.wall < *recorded_time_) return now.wall;
  return std::nullopt;
}

// Grants that wait are of another boot, and judged by its clock.
std::optional<BootClock> Gatekeeper::ClockToRecord(const Now& now) const {
  // Time servers move the one against the other all the time.
  constexpr absl::Duration kLeast = absl::Milliseconds(1);
  if (!withheld_.empty()) return std::nullopt;
  const BootClock clock = {.boot_id = boot_id_, .began = now.wall - now.boot.since_boot()};
  const bool is_known = recorded_clock_ && recorded_clock_->boot_id == boot_id_ &&
                        absl::AbsDuration(clock.began - recorded_clock_->began) < kLeast;
  return is_known ? std::nullopt : std::make_optional(clock);
}

// A withdrawal that waited for the disk would leave open what should be closed.
void Gatekeeper::KeepWithdrawals(std::vector<Change>& changes, const absl::Status& why,
                                 const Now& now, std::vector<Command>& again) {
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    PutBackInLedger(*change);
  }
  std::vector<Change> kept;
  for (Change& change : changes) {
    if (!Follows(change)) {
      again.push_back(std::move(change.command));
      continue;
    }
    if (change.after.state == GrantState::kActive) {
      change.command.done(Annotate(why, "recording the change"));
      continue;
    }
    PutInLedger(change);
    KeepUnrecorded(WriteOf(change.after, change.event), why, now);
    kept.push_back(std::move(change));
  }
  changes = std::move(kept);
}

void Gatekeeper::KeepUnrecorded(Write write, const absl::Status& why, const Now& now) {
  if (unrecorded_.empty()) Report(why, "recording what is in force already; it is tried again");
  unrecorded_.Add(std::move(write));
  retry_at_ = now.boot + kRetryAfter;
}

void Gatekeeper::RetryDue(const Now& now) {
  RepairDue(now);
  if (!retry_at_ || now.boot < *retry_at_) return;
  retry_at_.reset();
  if (resync_wanted_) Resync();
  EndSessions(std::exchange(owed_, {}));
  if (unrecorded_.empty()) return;
  std::vector<Write> nothing_new;
  if (!Commit(nothing_new).ok()) retry_at_ = now.boot + kRetryAfter;
  AnnounceRecorded();
}

bool Gatekeeper::HasChangeOf(const std::vector<Change>& changes, absl::string_view id) {
  return std::any_of(changes.begin(), changes.end(),
                     [&](const Change& change) { return change.after.id == id; });
}

bool Gatekeeper::Follows(const Change& change) const {
  const Grant* present = ledger_.Find(change.after.id);
  if (!change.before || IsWithheld(change.after.id)) return present == nullptr;
  return present != nullptr && *present == *change.before;
}

void Gatekeeper::Program(std::vector<Change>& changes, const Now& now,
                         std::vector<Command>& again) {
  // The kernel may listen again: whoever ends access now should not have to ask twice.
  if (resync_wanted_) Resync();
  const absl::Status status = Apply(changes, now);
  if (status.ok() || RestoredLostTable()) return;
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    PutBackInLedger(*change);
  }
  // The kernel may have done what it was asked all the same: it is made equal to
  // the ledger before anything is taken back from that.
  Resync();
  // One of them is at fault: each for itself, so that the others are served.
  std::vector<Change> programmed;
  for (Change& change : changes) {
    absl::Status alone = status;
    bool is_first = true;
    if (IsWithheld(change.after.id)) {
      // Only its end can be asked for, and the kernel has nothing of it: taken back,
      // it would live again once the clock is trusted.
      alone = absl::OkStatus();
    } else if (!Follows(change)) {
      alone = absl::UnavailableError(kRefusedBefore);
      is_first = false;
    } else if (changes.size() > 1 && !resync_wanted_) {
      alone = ProgramAlone(change, now);
    }
    if (alone.ok()) {
      programmed.push_back(std::move(change));
      continue;
    }
    Command command = std::move(change.command);
    refused_.push_back({.change = std::move(change), .why = alone});
    // Whoever is told of a refusal may believe it after a crash as well, except
    // where it is in doubt.
    if (!resync_wanted_) TakeBackRefused();
    if (is_first) {
      command.done(Annotate(alone, resync_wanted_ ? kInDoubt : "programming the firewall"));
    } else {
      again.push_back(std::move(command));
    }
  }
  changes = std::move(programmed);
}

absl::Status Gatekeeper::ProgramAlone(const Change& change, const Now& now) {
  PutInLedger(change);
  absl::Status status = Apply({change}, now);
  if (status.ok()) return status;
  PutBackInLedger(change);
  Resync();
  return status;
}

absl::Status Gatekeeper::Apply(const std::vector<Change>& changes, const Now& now) {
  if (resync_wanted_) return absl::UnavailableError(kFirewallInDoubt);
  std::vector<AccessKey> keys;
  for (const Change& change : changes) {
    if (change.before) AppendKeys(*change.before, keys);
    AppendKeys(change.after, keys);
  }
  const BootTime began = with_.clock.Read().boot;
  absl::Status status = programmer_.Apply(keys, now.boot);
  Observe(apply_latency_, began);
  return status;
}

void Gatekeeper::Observe(LatencyHistogram& latency, BootTime began) const {
  latency.Observe(with_.clock.Read().boot - began);
}

void Gatekeeper::TakeBackRefused() {
  const Now now = with_.clock.Read();
  for (const Refused& refused : std::exchange(refused_, {})) {
    const Change& change = refused.change;
    // As the ledger has it now: the change before this one may be gone as well,
    // and what was live may have ended, which is recorded then.
    Write write;
    const Grant* present = ledger_.Find(change.after.id);
    if (!refused.superseded && present != nullptr) write.put = *present;
    if (!refused.superseded && present == nullptr && !change.before) {
      write.erase = change.after.id;
    }
    write.audit = EventOf(AuditKind::kGrantFailed, change.after, change.event.actor, now.wall);
    write.audit->detail = std::string(refused.why.message());
    std::vector<Write> writes = {std::move(write)};
    if (absl::Status status = Commit(writes); !status.ok()) {
      KeepUnrecorded(std::move(writes.front()), status, now);
    }
  }
}

void Gatekeeper::Report(const absl::Status& status, absl::string_view context) const {
  if (!status.ok()) with_.report(Annotate(status, context));
}

}  // namespace postern
