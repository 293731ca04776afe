#include "agent/enforcer/gatekeeper.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/enforcer/changes.h"
#include "agent/grants/decide.h"
#include "common/duration.h"
#include "common/status.h"

namespace postern {
namespace {

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
}

}  // namespace

Gatekeeper::Gatekeeper(GatekeeperOptions options, Collaborators collaborators)
    : options_(std::move(options)),
      with_(std::move(collaborators)),
      programmer_(ledger_, with_.firewall),
      boot_id_(with_.clock.BootId()),
      usage_(with_.firewall) {}

// ---- Commands --------------------------------------------------------------

void Gatekeeper::Execute(std::vector<Command> commands) {
  const Now now = with_.clock.Read();
  ExpireDue(now);
  Batch batch;
  for (Command& command : commands) Decide(std::move(command), now, batch);
  Perform(std::move(batch), now);
}

void Gatekeeper::Decide(Command command, const Now& now, Batch& batch) {
  absl::StatusOr<Change> change = std::visit(
      [&](const auto& request) { return Verdict(request, command.actor, now); }, command.request);
  if (!change.ok()) {
    command.done(change.status());
    return;
  }
  if (change->before == change->after) {
    batch.repeats.push_back({.id = change->after.id, .reply = std::move(command.done)});
    return;
  }
  change->reply = std::move(command.done);
  PutInLedger(*change);
  batch.changes.push_back(*std::move(change));
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const CreateGrant& create,
                                                       absl::string_view actor, const Now& now) {
  const GrantRequest& request = create.request;
  // The form first: an id that is not one must not reach the store.
  POSTERN_RETURN_IF_ERROR(CheckForm(request));
  absl::StatusOr<Grant> existing = FindAny(request.id);
  if (existing.ok()) {
    POSTERN_RETURN_IF_ERROR(DecideRepeat(request, *existing));
    return Change{.before = *existing, .after = *existing, .event = {}, .reply = {}};
  }
  if (!absl::IsNotFound(existing.status())) return existing.status();

  const DecisionContext context{
      .limits = options_.limits, .now = now, .live_grants = ledger_.size()};
  POSTERN_ASSIGN_OR_RETURN(Grant grant, DecideCreate(request, actor, context));
  grant.sequence = ++sequence_;
  grant.boot_id = boot_id_;
  AuditEvent event = EventOf(AuditKind::kGrantCreated, grant, actor, now.wall);
  event.detail = grant.justification;
  return Change{
      .before = std::nullopt, .after = std::move(grant), .event = std::move(event), .reply = {}};
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const ExtendGrant& extend,
                                                       absl::string_view actor, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(Grant before, FindLive(extend.id));
  const DecisionContext context{
      .limits = options_.limits, .now = now, .live_grants = ledger_.size()};
  POSTERN_ASSIGN_OR_RETURN(Grant after, DecideExtend(before, extend.by, context));
  AuditEvent event = EventOf(AuditKind::kGrantExtended, after, actor, now.wall);
  event.detail = absl::StrCat("by ", DurationText(extend.by));
  return Change{.before = std::move(before),
                .after = std::move(after),
                .event = std::move(event),
                .reply = {}};
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const MoveGrant& move,
                                                       absl::string_view actor, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(Grant before, FindLive(move.id));
  const DecisionContext context{
      .limits = options_.limits, .now = now, .live_grants = ledger_.size()};
  POSTERN_ASSIGN_OR_RETURN(Grant after, DecideMove(before, move.sources, context));
  // What its elements have counted goes with those that it leaves.
  Grant leaving = before;
  std::erase_if(leaving.sources, [&](const Prefix& source) {
    return std::find(after.sources.begin(), after.sources.end(), source) != after.sources.end();
  });
  Report(AddCounters(with_.firewall, {&leaving}), "reading a moved grant's usage");
  after.usage = leaving.usage;
  AuditEvent event = EventOf(AuditKind::kGrantMoved, after, actor, now.wall);
  return Change{.before = std::move(before),
                .after = std::move(after),
                .event = std::move(event),
                .reply = {}};
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const RevokeGrant& revoke,
                                                       absl::string_view actor, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(Grant before, FindAny(revoke.id));
  if (before.state != GrantState::kActive) {
    return Change{.before = before, .after = before, .event = {}, .reply = {}};
  }
  const std::string cause = revoke.reason.empty()
                                ? absl::StrCat("revoked by ", actor)
                                : absl::StrCat("revoked by ", actor, ": ", revoke.reason);
  Grant after = before;
  Report(usage_.Read(now, {&after}), "reading a revoked grant's usage");
  after = Revoked(after, cause, now);
  AuditEvent event = EventOf(AuditKind::kGrantRevoked, after, actor, now.wall);
  event.detail = cause;
  return Change{.before = std::move(before),
                .after = std::move(after),
                .event = std::move(event),
                .end_sessions = !revoke.keep_sessions,
                .reply = {}};
}

absl::StatusOr<Grant> Gatekeeper::FindAny(absl::string_view id) {
  if (const Grant* live = ledger_.Find(id)) return *live;
  POSTERN_ASSIGN_OR_RETURN(std::optional<Grant> stored, with_.store.FindGrant(id));
  if (!stored) return absl::NotFoundError(absl::StrCat("there is no grant ", id));
  return *std::move(stored);
}

absl::StatusOr<Grant> Gatekeeper::FindLive(absl::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(Grant grant, FindAny(id));
  if (grant.state == GrantState::kActive) return grant;
  return absl::FailedPreconditionError(absl::StrCat("grant ", id, " ended at ", Rfc3339(grant.end),
                                                    " (", grant.end_cause, "); create a new one"));
}

// ---- Record, program, answer -----------------------------------------------

void Gatekeeper::PutInLedger(const Change& change) {
  if (change.after.state == GrantState::kActive) {
    ledger_.Put(change.after);
  } else {
    ledger_.Remove(change.after.id);
  }
}

void Gatekeeper::PutBackInLedger(const Change& change) {
  if (change.before) {
    ledger_.Put(*change.before);
  } else {
    ledger_.Remove(change.after.id);
  }
}

void Gatekeeper::Perform(Batch batch, const Now& now) {
  std::vector<Change>& changes = batch.changes;
  if (absl::Status status = Record(changes); !status.ok()) {
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
      PutBackInLedger(*change);
      change->reply(Annotate(status, "recording the change"));
    }
    changes.clear();
  }
  Program(changes, now);
  // Whoever revokes may believe the answer: the sessions are gone.
  EndSessionsOf(changes);
  for (const Change& change : changes) change.reply(change.after);
  for (const Repeat& repeat : batch.repeats) repeat.reply(Get(repeat.id));
  for (const Change& change : changes) {
    if (change.after.state != GrantState::kActive) usage_.Forget(change.after.id);
    with_.announce(change.event);
  }
}

absl::Status Gatekeeper::Record(std::vector<Change>& changes) {
  if (changes.empty()) return absl::OkStatus();
  const uint64_t number = audit_number_;
  std::vector<Write> writes;
  writes.reserve(changes.size());
  for (Change& change : changes) {
    change.event.number = ++audit_number_;
    writes.push_back({.put = change.after, .erase = std::nullopt, .audit = change.event});
  }
  absl::Status status = with_.store.Commit(writes);
  if (!status.ok()) audit_number_ = number;
  return status;
}

void Gatekeeper::Program(std::vector<Change>& changes, const Now& now) {
  std::vector<AccessKey> keys;
  for (const Change& change : changes) {
    if (change.before) AppendKeys(*change.before, keys);
    AppendKeys(change.after, keys);
  }
  const absl::Status status = programmer_.Apply(keys, now.boot);
  if (status.ok()) return;
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    PutBackInLedger(*change);
  }
  // One of them is at fault: each for itself, so that the others are served.
  std::vector<Change> programmed;
  for (Change& change : changes) {
    const Grant* present = ledger_.Find(change.after.id);
    const bool follows =
        change.before ? present != nullptr && *present == *change.before : present == nullptr;
    absl::Status alone =
        follows ? absl::OkStatus()
                : absl::UnavailableError("the change before it, to the same grant, was refused");
    if (follows) {
      PutInLedger(change);
      keys.clear();
      if (change.before) AppendKeys(*change.before, keys);
      AppendKeys(change.after, keys);
      alone = changes.size() == 1 ? status : programmer_.Apply(keys, now.boot);
    }
    if (alone.ok()) {
      programmed.push_back(std::move(change));
      continue;
    }
    if (follows) PutBackInLedger(change);
    TakeBack(change, alone);
    change.reply(Annotate(alone, "programming the firewall"));
  }
  changes = std::move(programmed);
  Resync();
}

void Gatekeeper::TakeBack(const Change& change, const absl::Status& why) {
  // As the ledger has it now: the change before this one may be gone as well.
  const Grant* present = ledger_.Find(change.after.id);
  Write write;
  if (present != nullptr) {
    write.put = *present;
  } else {
    write.erase = change.after.id;
  }
  AuditEvent event =
      EventOf(AuditKind::kGrantFailed, change.after, change.event.actor, with_.clock.Read().wall);
  event.number = audit_number_ + 1;
  event.detail = absl::StrCat(why.message());
  write.audit = event;
  if (absl::Status status = with_.store.Commit({write}); !status.ok()) {
    Report(status, absl::StrCat("taking back grant ", change.after.id,
                                ", which the kernel refused, from the ledger"));
    return;
  }
  ++audit_number_;
  with_.announce(event);
}

void Gatekeeper::EndSessionsOf(const std::vector<Change>& changes) {
  std::vector<EndedGrant> ended;
  for (const Change& change : changes) {
    if (!change.end_sessions || !change.before) continue;
    ended.push_back(
        {.keys = KeysOf(*change.before), .admission = AdmissionOf(change.before->on_expiry)});
  }
  EndSessions(ended);
}

void Gatekeeper::EndSessions(const std::vector<EndedGrant>& ended) {
  if (ended.empty() || !options_.gate.enforce) return;
  const BootTime now = with_.clock.Read().boot;
  const absl::StatusOr<EndReport> report = with_.sessions.End(
      ended,
      [&](const Address& remote, Protocol protocol, uint16_t port) {
        for (const Prefix& prefix : options_.gate.always_allow) {
          if (prefix.Contains(remote)) return Coverage::kKeep;
        }
        return ledger_.CoverageOf(remote, protocol, port, now);
      },
      older_);
  Report(report.status(), "ending the sessions of an ended grant");
}

void Gatekeeper::Report(const absl::Status& status, absl::string_view context) const {
  if (!status.ok()) with_.report(Annotate(status, context));
}

}  // namespace postern
