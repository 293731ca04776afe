// Orders that stand until they are lifted: a lockdown, and enforcing what
// agent.yaml only observes.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/changes.h"
#include "agent/enforcer/exposure.h"
#include "agent/enforcer/gatekeeper.h"
#include "common/duration.h"
#include "common/status.h"

namespace postern {
namespace {

// What is in force again where an order could not be put in force.
AuditKind OppositeOf(AuditKind order) {
  return order == AuditKind::kArmed            ? AuditKind::kDisarmed
         : order == AuditKind::kLockdownLifted ? AuditKind::kLockedDown
                                               : AuditKind::kArmed;
}

}  // namespace

GatekeeperOptions Gatekeeper::Effective(GatekeeperOptions options) const {
  if (!standing_.armed || options.gate.enforce) return options;
  options.gate.enforce = true;
  // The kernel goes back to observe by itself: no daemon may live then.
  if (standing_.armed->confirm_by)
    options.gate.enforce_until = standing_.armed->confirm_by->deadline;
  return options;
}

absl::Status Gatekeeper::TakeStanding(Standing standing, AuditKind kind, absl::string_view actor,
                                      absl::string_view detail) {
  Write write;
  write.standing = standing;
  POSTERN_RETURN_IF_ERROR(RecordAgentEvent(kind, actor, detail, {std::move(write)}));
  std::swap(standing_, standing);
  absl::Status status = PutInForce(Effective(configured_));
  if (status.ok()) return status;
  // The order is not in force, so it must not stand in the ledger either.
  standing_ = std::move(standing);
  const Now now = with_.clock.Read();
  Write back;
  back.standing = standing_;
  back.audit = AgentEvent(
      OppositeOf(kind), actor,
      absl::StrCat("as before: what was asked for could not be put in force: ", status.message()),
      now.wall);
  std::vector<Write> writes = {std::move(back)};
  if (absl::Status recorded = Commit(writes); !recorded.ok()) {
    KeepUnrecorded(std::move(writes.front()), recorded, now);
  }
  AnnounceRecorded();
  return status;
}

absl::StatusOr<size_t> Gatekeeper::LockDown(absl::string_view reason, absl::string_view actor) {
  const Now now = with_.clock.Read();
  // They have ended by themselves.
  while (ExpireDue(now, {})) {
  }
  if (!standing_.lockdown) {
    standing_.lockdown =
        Lockdown{.since = now.wall, .actor = std::string(actor), .reason = std::string(reason)};
    Write write;
    write.standing = standing_;
    write.audit = AgentEvent(AuditKind::kLockedDown, actor, reason, now.wall);
    std::vector<Write> writes = {std::move(write)};
    if (absl::Status status = Commit(writes); !status.ok()) {
      KeepUnrecorded(std::move(writes.front()), status, now);
    }
  }

  // Also of a lockdown that stands: some may live that could not be ended then.
  std::vector<std::string> ids;
  for (const auto& [id, grant] : ledger_.grants()) ids.push_back(id);
  for (const Grant& grant : withheld_) ids.push_back(grant.id);
  size_t ended = 0;
  Batch batch;
  for (const std::string& id : ids) {
    Decide({.request = RevokeGrant{.id = id, .keep_sessions = false, .reason = "lockdown"},
            .actor = std::string(actor),
            .done = [&ended](const absl::StatusOr<Grant>& grant) { ended += grant.ok() ? 1 : 0; }},
           now, batch);
  }
  Perform(std::move(batch), now);
  if (ended == ids.size() && !resync_wanted_) return ended;
  if (ended == ids.size()) {
    return absl::UnavailableError(
        "no new grant is made, but it is not known what the kernel holds, and it cannot be told; "
        "the log says why. Repeat the lockdown, or stop what grants lead to");
  }
  return absl::UnavailableError(absl::StrCat(
      "no new grant is made, but ", ids.size() - ended, " of ", ids.size(),
      " live grants could not be ended; the log says why. Repeat the lockdown, or stop what they "
      "lead to"));
}

absl::Status Gatekeeper::LiftLockdown(absl::string_view actor) {
  if (!standing_.lockdown) {
    return absl::FailedPreconditionError("this host is not locked down; there is nothing to lift");
  }
  return TakeStanding({.lockdown = std::nullopt, .armed = standing_.armed},
                      AuditKind::kLockdownLifted, actor, "");
}

absl::StatusOr<std::vector<Flow>> Gatekeeper::Arm(absl::Duration within, absl::string_view actor) {
  if (configured_.gate.enforce) {
    return absl::FailedPreconditionError(
        "agent.yaml says mode: enforce already; there is nothing to arm");
  }
  DisarmIfDue(with_.clock.Read());
  if (standing_.armed && !standing_.armed->confirm_by) {
    return absl::FailedPreconditionError(
        "the gate is armed and confirmed already; disarm goes back to observe");
  }
  const Now now = with_.clock.Read();
  Standing armed = standing_;
  armed.armed = Armed{.since = now.wall,
                      .actor = std::string(actor),
                      .confirm_by = ConfirmBy{.wall = now.wall + within,
                                              .deadline = now.boot + within,
                                              .boot_id = boot_id_,
                                              .within = within}};
  GatekeeperOptions enforcing = configured_;
  enforcing.gate.enforce = true;
  POSTERN_ASSIGN_OR_RETURN(std::vector<Flow> exposed, ExposedSessions(enforcing));
  POSTERN_RETURN_IF_ERROR(
      TakeStanding(std::move(armed), AuditKind::kArmed, actor,
                   absl::StrCat("to be confirmed within ", DurationText(within))));
  return exposed;
}

absl::Status Gatekeeper::Confirm(absl::string_view actor) {
  DisarmIfDue(with_.clock.Read());
  if (!standing_.armed) {
    return absl::FailedPreconditionError(
        configured_.gate.enforce
            ? "agent.yaml says mode: enforce; there is nothing to confirm"
            : "the gate is not armed, or no confirmation came in time; arm it again");
  }
  if (!standing_.armed->confirm_by) return absl::OkStatus();
  const Armed confirmed{.since = standing_.armed->since, .actor = standing_.armed->actor};
  return TakeStanding({.lockdown = standing_.lockdown, .armed = confirmed}, AuditKind::kConfirmed,
                      actor, "");
}

absl::Status Gatekeeper::Disarm(absl::string_view actor) {
  if (!standing_.armed) {
    return absl::FailedPreconditionError(
        configured_.gate.enforce
            ? "agent.yaml says mode: enforce; write mode: observe there and reload"
            : "the gate is not armed; the mode is observe");
  }
  return TakeStanding({.lockdown = standing_.lockdown, .armed = std::nullopt}, AuditKind::kDisarmed,
                      actor, "");
}

// Whoever armed the gate may be locked out: going back does not wait for a disk.
void Gatekeeper::DisarmIfDue(const Now& now) {
  if (!standing_.armed || !standing_.armed->confirm_by) return;
  if (now.boot < standing_.armed->confirm_by->deadline) return;
  const std::string detail = absl::StrCat("no confirmation came within ",
                                          DurationText(standing_.armed->confirm_by->within));
  standing_.armed.reset();
  if (absl::Status status = PutInForce(Effective(configured_)); !status.ok()) {
    Report(status, "going back to observe");
    options_ = Effective(configured_);
    resync_wanted_ = true;
    retry_at_ = now.boot + kRetryAfter;
  }
  Write write;
  write.standing = standing_;
  write.audit = AgentEvent(AuditKind::kDisarmed, kAgentActor, detail, now.wall);
  std::vector<Write> writes = {std::move(write)};
  if (absl::Status status = Commit(writes); !status.ok()) {
    KeepUnrecorded(std::move(writes.front()), status, now);
  }
  AnnounceRecorded();
}

// An order to enforce that was not confirmed runs out at its wall time, and
// within what was given in all, whatever the clock says after a reboot.
void Gatekeeper::RestoreStanding(const Standing& standing, const Now& now,
                                 std::vector<Write>& writes) {
  standing_ = standing;
  if (standing_.armed && standing_.armed->confirm_by) {
    ConfirmBy& by = *standing_.armed->confirm_by;
    if (by.boot_id != boot_id_) {
      by.deadline = now.boot + std::min(by.wall - now.wall, by.within);
      by.boot_id = boot_id_;
    }
    Write write;
    if (by.deadline <= now.boot) {
      write.audit = AgentEvent(
          AuditKind::kDisarmed, kAgentActor,
          absl::StrCat("no confirmation came within ", DurationText(by.within)), now.wall);
      standing_.armed.reset();
    }
    write.standing = standing_;
    writes.push_back(std::move(write));
  }
  options_ = Effective(configured_);
}

absl::StatusOr<std::vector<Flow>> Gatekeeper::ExposedSessions(
    const GatekeeperOptions& options) const {
  POSTERN_ASSIGN_OR_RETURN(const LiveFlows live, with_.sessions.ListLive(options.gate.ports));
  return Uncovered(ExposedBy(options.gate, live));
}

absl::StatusOr<std::vector<Flow>> Gatekeeper::NewlyExposedSessions(
    const GatekeeperOptions& options) const {
  POSTERN_ASSIGN_OR_RETURN(const LiveFlows live, with_.sessions.ListLive(options.gate.ports));
  return Uncovered(NewlyExposedBy(options_.gate, Effective(options).gate, live));
}

std::vector<Flow> Gatekeeper::Uncovered(std::vector<Flow> flows) const {
  const BootTime now = with_.clock.Read().boot;
  std::erase_if(flows, [&](const Flow& flow) {
    return ledger_.CoverageOf(flow.remote, Protocol::kTcp, flow.local_port, now) != Coverage::kNone;
  });
  return flows;
}

}  // namespace postern
