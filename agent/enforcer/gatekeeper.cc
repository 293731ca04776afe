#include "agent/enforcer/gatekeeper.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

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

const std::string& IdOf(const Command& command) {
  if (const auto* create = std::get_if<CreateGrant>(&command.request)) return create->request.id;
  if (const auto* extend = std::get_if<ExtendGrant>(&command.request)) return extend->id;
  if (const auto* move = std::get_if<MoveGrant>(&command.request)) return move->id;
  return std::get<RevokeGrant>(command.request).id;
}

}  // namespace

Gatekeeper::Gatekeeper(GatekeeperOptions options, Collaborators collaborators)
    : configured_(std::move(options)),
      options_(configured_),
      with_(std::move(collaborators)),
      programmer_(ledger_, with_.firewall),
      boot_id_(with_.clock.BootId()),
      usage_(with_.firewall) {}

// ---- Commands --------------------------------------------------------------

void Gatekeeper::Execute(std::vector<Command> commands) {
  const Now now = with_.clock.Read();
  RetryDue(now);
  std::vector<std::string> named;
  for (const Command& command : commands) named.push_back(IdOf(command));
  ExpireDue(now, named);
  // Of each grant, a round answers at least the first command.
  while (!commands.empty() && !RefuseInDoubt(commands)) {
    Batch batch;
    for (Command& command : commands) Decide(std::move(command), now, batch);
    commands = Perform(std::move(batch), now);
  }
}

void Gatekeeper::Decide(Command command, const Now& now, Batch& batch) {
  absl::StatusOr<Change> change = std::visit(
      [&](const auto& request) { return Verdict(request, command.actor, now); }, command.request);
  if (!change.ok()) {
    command.done(change.status());
    return;
  }
  if (change->before == change->after) {
    Repeat repeat = {
        .id = change->after.id, .follows = std::nullopt, .command = std::move(command)};
    if (HasChangeOf(batch.changes, repeat.id)) repeat.follows = std::move(change->after);
    batch.repeats.push_back(std::move(repeat));
    return;
  }
  change->command = std::move(command);
  PutInLedger(*change);
  if (change->after.state != GrantState::kActive) {
    just_ended_.insert_or_assign(change->after.id, change->after);
  }
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
    return Change{.before = *existing, .after = *existing, .event = {}, .command = {}};
  }
  if (!absl::IsNotFound(existing.status())) return existing.status();
  if (const auto& lockdown = standing_.lockdown) {
    return absl::FailedPreconditionError(
        absl::StrCat("this host is locked down since ", Rfc3339(lockdown->since), " by ",
                     lockdown->actor, lockdown->reason.empty() ? "" : ": ", lockdown->reason,
                     "; no grant is made until that is lifted (posternctl lockdown --lift)"));
  }

  const DecisionContext context{.limits = options_.limits, .now = now, .live_grants = LiveAt(now)};
  POSTERN_ASSIGN_OR_RETURN(Grant grant, DecideCreate(request, actor, context));
  grant.sequence = ++sequence_;
  grant.boot_id = boot_id_;
  if (grant.clock_skew) clock_skew_ = grant.clock_skew;
  AuditEvent event = EventOf(AuditKind::kGrantCreated, grant, actor, now.wall);
  event.detail = grant.justification;
  return Change{
      .before = std::nullopt, .after = std::move(grant), .event = std::move(event), .command = {}};
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const ExtendGrant& extend,
                                                       absl::string_view actor, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(Grant before, FindLive(extend.id));
  const DecisionContext context{.limits = options_.limits, .now = now, .live_grants = LiveAt(now)};
  POSTERN_ASSIGN_OR_RETURN(Grant after, DecideExtend(before, extend.by, context));
  AuditEvent event = EventOf(AuditKind::kGrantExtended, after, actor, now.wall);
  event.detail = absl::StrCat("by ", DurationText(extend.by));
  return Change{.before = std::move(before),
                .after = std::move(after),
                .event = std::move(event),
                .command = {}};
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const MoveGrant& move,
                                                       absl::string_view actor, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(Grant before, FindLive(move.id));
  const DecisionContext context{.limits = options_.limits, .now = now, .live_grants = LiveAt(now)};
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
                .command = {}};
}

absl::StatusOr<Gatekeeper::Change> Gatekeeper::Verdict(const RevokeGrant& revoke,
                                                       absl::string_view actor, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(Grant before, FindAny(revoke.id));
  if (before.state != GrantState::kActive) {
    return Change{.before = before, .after = before, .event = {}, .command = {}};
  }
  std::string cause = absl::StrCat(revoke.superseded ? "superseded by " : "revoked by ", actor);
  if (!revoke.reason.empty()) absl::StrAppend(&cause, ": ", revoke.reason);
  Grant after = before;
  Report(usage_.Read(now, {&after}), "reading a revoked grant's usage");
  after = Revoked(after, cause, now);
  if (revoke.superseded) after.state = GrantState::kSuperseded;
  after.sessions_pending = !revoke.keep_sessions;
  AuditEvent event = EventOf(AuditKind::kGrantRevoked, after, actor, now.wall);
  event.detail = cause;
  return Change{.before = std::move(before),
                .after = std::move(after),
                .event = std::move(event),
                .command = {}};
}

absl::StatusOr<Grant> Gatekeeper::FindAny(absl::string_view id) {
  if (const Grant* live = ledger_.Find(id)) return *live;
  if (const auto ended = just_ended_.find(id); ended != just_ended_.end()) return ended->second;
  if (const Write* waiting = unrecorded_.Find(id)) {
    if (waiting->put) return *waiting->put;
    return absl::NotFoundError(absl::StrCat("there is no grant ", id));
  }
  POSTERN_ASSIGN_OR_RETURN(std::optional<Grant> stored, with_.store.FindGrant(id));
  if (!stored) return absl::NotFoundError(absl::StrCat("there is no grant ", id));
  return *std::move(stored);
}

absl::StatusOr<Grant> Gatekeeper::FindLive(absl::string_view id) {
  POSTERN_ASSIGN_OR_RETURN(Grant grant, FindAny(id));
  if (IsWithheld(id)) {
    return absl::FailedPreconditionError(
        absl::StrCat("grant ", id, " is withheld since the reboot: ", withheld_reason_));
  }
  if (grant.state == GrantState::kActive) return grant;
  return absl::FailedPreconditionError(absl::StrCat("grant ", id, " ended at ", Rfc3339(grant.end),
                                                    " (", grant.end_cause, "); create a new one"));
}

}  // namespace postern
