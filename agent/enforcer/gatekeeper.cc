#include "agent/enforcer/gatekeeper.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/enforcer/usage.h"
#include "agent/grants/decide.h"
#include "common/duration.h"
#include "common/status.h"

namespace postern {
namespace {

// How long before a grant's end its usage is read: the kernel forgets an
// element's counter at the end itself.
constexpr absl::Duration kUsageLead = absl::Milliseconds(20);
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

constexpr char kAgent[] = "agent";

AuditEvent EventOf(AuditKind kind, const Grant& grant, absl::string_view actor,
                   const absl::Time time) {
  return AuditEvent{
      .time = time,
      .kind = kind,
      .actor = std::string(actor),
      .grant_id = grant.id,
      .requestor = grant.requestor,
      .sources = grant.sources,
      .ports = grant.ports,
      .end = grant.end,
      .detail = {},
  };
}

void AppendKeys(const Grant& grant, std::vector<AccessKey>& keys) {
  const std::vector<AccessKey> more = KeysOf(grant);
  keys.insert(keys.end(), more.begin(), more.end());
}

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
}

}  // namespace

Gatekeeper::Gatekeeper(GatekeeperOptions options, Collaborators collaborators)
    : options_(std::move(options)),
      with_(std::move(collaborators)),
      programmer_(ledger_, with_.firewall),
      boot_id_(BootId()) {}

// ---- Commands --------------------------------------------------------------

void Gatekeeper::Execute(std::vector<Command> commands) {
  ExpireDue();
  const Now now = with_.clock.Read();
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
  Report(AddUsage(with_.firewall, now, {&after}), "reading a revoked grant's usage");
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
  // The callers wait for their answers; nobody waits for the rest.
  for (const Change& change : changes) change.reply(change.after);
  for (const Repeat& repeat : batch.repeats) repeat.reply(Get(repeat.id));
  EndSessionsOf(changes);
  for (const Change& change : changes) with_.announce(change.event);
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
        return ledger_.CoverageOf(remote, protocol, port, now);
      },
      older_);
  Report(report.status(), "ending the sessions of an ended grant");
}

// ---- Ends ------------------------------------------------------------------

std::optional<BootTime> Gatekeeper::NextDeadline() const {
  const Grant* next = ledger_.EndingFirst();
  if (resync_wanted_) return retry_at_;
  if (next == nullptr) return std::nullopt;
  if (retry_at_) return std::max(next->deadline, *retry_at_);
  const std::optional<BootTime> unread = ledger_.NextDeadlineAfter(usage_read_until_);
  return unread ? std::min(next->deadline, *unread - kUsageLead) : next->deadline;
}

void Gatekeeper::ReadLastUsage(const std::vector<std::string>& ids, const Now& now) {
  std::vector<Grant> ending;
  for (const std::string& id : ids) ending.push_back(*ledger_.Find(id));
  std::vector<Grant*> pointers;
  for (Grant& grant : ending) pointers.push_back(&grant);
  Report(AddUsage(with_.firewall, now, pointers), "reading the usage of grants that end");
  for (const Grant& grant : ending) last_usage_[grant.id] = grant.usage;
}

void Gatekeeper::ExpireDue() {
  const Now now = with_.clock.Read();
  const BootTime horizon = now.boot + kUsageLead;
  ReadLastUsage(ledger_.EndingBetween(usage_read_until_, horizon), now);
  usage_read_until_ = std::max(usage_read_until_, horizon);

  if (retry_at_ && now.boot < *retry_at_) return;
  retry_at_.reset();
  if (resync_wanted_) Resync();
  std::vector<Change> changes;
  for (const std::string& id : ledger_.EndingBetween(BootTime(), now.boot)) {
    const Grant* before = ledger_.Find(id);
    Change change{.before = *before, .after = Expired(*before), .event = {}, .reply = {}};
    if (const auto usage = last_usage_.find(id); usage != last_usage_.end()) {
      change.after.usage = usage->second;
    }
    change.event = EventOf(AuditKind::kGrantExpired, change.after, kAgent, now.wall);
    change.end_sessions = before->on_expiry == OnExpiry::kReset;
    PutInLedger(change);
    changes.push_back(std::move(change));
  }
  if (changes.empty()) return;
  if (absl::Status status = Record(changes); !status.ok()) {
    for (const Change& change : changes) PutBackInLedger(change);
    retry_at_ = now.boot + kRetryAfter;
    Report(status, "recording the end of grants (the kernel has closed them)");
    return;
  }
  std::vector<AccessKey> keys;
  for (const Change& change : changes) {
    AppendKeys(change.after, keys);
    last_usage_.erase(change.after.id);
  }
  if (absl::Status status = programmer_.Apply(keys, now.boot); !status.ok()) {
    Report(status, "clearing sets that are used no more");
    Resync();
  }
  EndSessionsOf(changes);
  for (const Change& change : changes) with_.announce(change.event);
}

// ---- Queries ---------------------------------------------------------------

absl::StatusOr<Grant> Gatekeeper::Get(absl::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(Grant grant, FindAny(id));
  if (grant.state == GrantState::kActive) {
    POSTERN_RETURN_IF_ERROR(AddUsage(with_.firewall, with_.clock.Read(), {&grant}));
  }
  return grant;
}

absl::StatusOr<std::vector<Grant>> Gatekeeper::List(int64_t after, size_t limit,
                                                    bool include_ended) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<Grant> grants,
                           with_.store.ListGrants(after, limit, include_ended));
  std::vector<Grant*> live;
  for (Grant& grant : grants) {
    if (grant.state == GrantState::kActive) live.push_back(&grant);
  }
  POSTERN_RETURN_IF_ERROR(AddUsage(with_.firewall, with_.clock.Read(), live));
  return grants;
}

absl::StatusOr<std::vector<AuditEvent>> Gatekeeper::Audit(uint64_t after, absl::Time since,
                                                          size_t limit) {
  return with_.store.ListAudit(after, since, limit);
}

AccessAnswer Gatekeeper::Check(const Address& source, Protocol protocol, uint16_t port) const {
  const std::vector<uint16_t>& guarded = options_.limits.guarded_ports;
  if (std::find(guarded.begin(), guarded.end(), port) == guarded.end()) {
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason = absl::StrCat("port ", port, " is not guarded")};
  }
  for (const Prefix& prefix : options_.gate.always_allow) {
    if (!prefix.Contains(source)) continue;
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason = absl::StrCat(prefix.ToString(), " is always allowed (guard.always_allow)")};
  }
  const BootTime now = with_.clock.Read().boot;
  if (const Grant* grant = ledger_.Covering(source, protocol, port, now)) {
    return {.allowed = true, .grant_id = grant->id, .end = grant->end, .reason = "a grant"};
  }
  const std::string why = absl::StrCat("no live grant covers ", source.ToString(), " on port ",
                                       port, protocol == Protocol::kTcp ? "/tcp" : "/udp");
  if (!options_.gate.enforce) {
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason = absl::StrCat(why, ", but the mode is observe: nothing is dropped")};
  }
  return {.allowed = false, .grant_id = {}, .end = {}, .reason = why};
}

absl::StatusOr<GateStatus> Gatekeeper::Status() {
  POSTERN_ASSIGN_OR_RETURN(const Counter dropped, with_.firewall.ReadCounter(kDroppedCounter));
  const Now now = with_.clock.Read();
  return GateStatus{.live_grants = ledger_.size(),
                    .next_end = NextEnd(),
                    .started = started_,
                    .dropped = dropped,
                    .now = now.wall};
}

std::optional<absl::Time> Gatekeeper::NextEnd() const {
  const Grant* next = ledger_.EndingFirst();
  if (next == nullptr) return std::nullopt;
  return next->end;
}

void Gatekeeper::Report(const absl::Status& status, absl::string_view context) const {
  if (!status.ok()) with_.report(Annotate(status, context));
}

}  // namespace postern
