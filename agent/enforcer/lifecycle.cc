// The gatekeeper's start, stop and change of options.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "agent/enforcer/changes.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/decide.h"
#include "common/status.h"

namespace postern {
namespace {

// What a start or a reload put in force.
std::string InWords(const GateOptions& gate) {
  std::string words = gate.enforce ? "enforce" : "observe";
  if (!gate.always_allow.empty()) {
    absl::StrAppend(&words, ", always allowed: ",
                    absl::StrJoin(gate.always_allow, " ", [](std::string* out, const Prefix& p) {
                      absl::StrAppend(out, p.ToString());
                    }));
  }
  return words;
}

}  // namespace

absl::StatusOr<bool> CloseGate(Firewall& firewall, Sessions& sessions, const GateOptions& gate) {
  POSTERN_ASSIGN_OR_RETURN(const bool standing, firewall.HasTable());
  if (standing) return false;
  POSTERN_ASSIGN_OR_RETURN(const LiveFlows older, sessions.ListLive(gate.ports));
  POSTERN_RETURN_IF_ERROR(firewall.Commit(BuildTable(gate, {}, FlowsOf(older))));
  return true;
}

absl::Status Gatekeeper::Start(absl::string_view ledger_replaced, bool enforced_before) {
  const Now now = with_.clock.Read();
  started_ = now.wall;
  usage_read_at_ = now.boot;
  if (boot_id_.empty()) {
    return absl::UnavailableError(
        "the kernel tells no boot id (/proc/sys/kernel/random/boot_id), without which deadlines of "
        "another boot would be believed");
  }
  absl::StatusOr<StoredState> state = with_.store.Load();
  if (!state.ok()) return Annotate(state.status(), "reading the ledger");
  sequence_ = state->last_sequence;
  audit_number_ = state->last_audit_number;
  last_seen_ = state->last_seen;
  seen_before_start_ = state->last_seen;
  recorded_time_ = state->last_seen;
  recorded_clock_ = state->clock;
  compared_at_ = now;
  std::vector<Write> writes;
  if (!ledger_replaced.empty()) {
    Write write;
    write.audit = AgentEvent(AuditKind::kLedgerReplaced, kAgentActor, ledger_replaced, now.wall);
    writes.push_back(std::move(write));
  }
  // Not only where it was replaced now: a crash may have come right after that.
  if (audit_number_ == 0 && enforced_before && !configured_.gate.enforce) {
    state->standing.armed = Armed{.since = now.wall, .actor = kAgentActor};
    Write write;
    write.standing = state->standing;
    writes.push_back(std::move(write));
  }
  RestoreStanding(state->standing, now, writes);

  std::vector<Grant> ended = std::move(state->sessions_pending);
  POSTERN_RETURN_IF_ERROR(RestoreGrants(state->live, now, writes, ended));
  POSTERN_ASSIGN_OR_RETURN(older_, OlderFlowsAtStart(ended, now));
  older_seen_at_ = now.boot;
  POSTERN_RETURN_IF_ERROR(RecordStart(state->live, std::move(writes), ended));
  POSTERN_RETURN_IF_ERROR(
      Annotate(programmer_.Rebuild(options_.gate, FlowsOf(older_), DeniedToKeep(options_.gate),
                                   with_.clock.Read().boot),
               "building the firewall's table"));
  EndSessions(ended);
  return absl::OkStatus();
}

// A disk that takes nothing keeps neither the gate nor the live grants waiting.
absl::Status Gatekeeper::RecordStart(const std::vector<Grant>& stored, std::vector<Write> writes,
                                     std::vector<Grant>& ended) {
  const auto in_words = [this] {
    return absl::StrCat(ledger_.size(), " live grants, ", InWords(options_.gate));
  };
  const absl::Status recorded =
      RecordAgentEvent(AuditKind::kAgentStarted, kAgentActor, in_words(), writes);
  if (recorded.ok()) return recorded;
  if (!absl::IsResourceExhausted(recorded) && !absl::IsUnavailable(recorded)) return recorded;
  const std::set<std::string> waiting = WithholdOtherBoots(stored, recorded);
  std::erase_if(ended, [&](const Grant& grant) { return waiting.contains(grant.id); });
  std::erase_if(writes,
                [&](const Write& write) { return write.put && waiting.contains(write.put->id); });
  const Now now = with_.clock.Read();
  Write start;
  start.audit = AgentEvent(AuditKind::kAgentStarted, kAgentActor, in_words(), now.wall);
  writes.push_back(std::move(start));
  for (Write& write : writes) KeepUnrecorded(std::move(write), recorded, now);
  return absl::OkStatus();
}

// What bounds a grant of another boot is its deadline on this boot's clock. Open
// before that is durable, it would begin anew with the next start.
std::set<std::string> Gatekeeper::WithholdOtherBoots(const std::vector<Grant>& stored,
                                                     const absl::Status& why) {
  std::set<std::string> ids;
  // They wait for a clock already.
  if (!withheld_.empty()) return ids;
  for (const Grant& grant : stored) {
    if (grant.boot_id == boot_id_) continue;
    ids.insert(grant.id);
    ledger_.Remove(grant.id);
    withheld_.push_back(grant);
  }
  withheld_reason_ = WhyNotRestored(why);
  return ids;
}

absl::Status Gatekeeper::RestoreGrants(const std::vector<Grant>& stored, const Now& now,
                                       std::vector<Write>& writes, std::vector<Grant>& ended) {
  withheld_reason_ = WhyClockIsNotTrusted(now);
  withheld_check_at_ = now.boot + kTrustInterval;
  std::vector<Grant> grants = stored;
  std::vector<Grant*> all;
  for (Grant& grant : grants) all.push_back(&grant);
  // A grant whose usage cannot be told is a grant all the same.
  Report(usage_.Read(now, all), "reading the usage that the standing table counted");

  for (size_t i = 0; i < grants.size(); ++i) {
    Grant& grant = grants[i];
    const bool is_of_this_boot = grant.boot_id == boot_id_;
    const bool can_be_judged = is_of_this_boot || withheld_reason_.empty();
    if (!is_of_this_boot && can_be_judged) {
      // The clock that does not step began anew: what is left is told by wall
      // time, and is never more than the whole, nor than was left by a wall clock
      // that had been set back, nor than was left when the ledger last saw the time.
      absl::Duration left = grant.end - grant.start;
      if (seen_before_start_) left = std::min(left, grant.end - *seen_before_start_);
      if (recorded_clock_ && recorded_clock_->boot_id == grant.boot_id) {
        const absl::Time end = recorded_clock_->began + grant.deadline.since_boot();
        left = std::min(left, end - now.wall);
      }
      grant.deadline = now.boot + left;
      grant.boot_id = boot_id_;
    }
    if (can_be_judged) {
      grant.deadline = std::min(grant.deadline, now.boot + (grant.end - now.wall));
    }
    if (can_be_judged && grant.deadline <= now.boot) {
      grant = Expired(grant);
      grant.sessions_pending = grant.on_expiry == OnExpiry::kReset;
      if (grant.sessions_pending) ended.push_back(grant);
      AuditEvent event = EventOf(AuditKind::kGrantExpired, grant, kAgentActor, now.wall);
      event.detail = "while the agent was not running";
      writes.push_back(WriteOf(grant, event));
      continue;
    }
    if (standing_.lockdown) {
      // It could not be ended when the lockdown was ordered.
      const std::string cause =
          absl::StrCat("revoked by ", standing_.lockdown->actor, ": lockdown");
      grant = Revoked(grant, cause, now);
      grant.sessions_pending = true;
      ended.push_back(grant);
      AuditEvent event = EventOf(AuditKind::kGrantRevoked, grant, kAgentActor, now.wall);
      event.detail = cause;
      writes.push_back(WriteOf(grant, event));
      continue;
    }
    if (!can_be_judged) {
      withheld_.push_back(stored[i]);
      continue;
    }
    ledger_.Put(grant);
    if (grant != stored[i]) {
      Write write;
      write.put = grant;
      writes.push_back(std::move(write));
    }
  }
  return absl::OkStatus();
}

void Gatekeeper::Stop() {
  RecordRepairs(repairs_.Line());
  Report(RecordAgentEvent(AuditKind::kAgentStopped, kAgentActor,
                          absl::StrCat(ledger_.size(), " live grants stay with the kernel")),
         "recording the stop");
}

absl::Status Gatekeeper::Reconfigure(GatekeeperOptions options, absl::string_view actor) {
  POSTERN_RETURN_IF_ERROR(PutInForce(Effective(options)));
  configured_ = std::move(options);
  // The options are in force: that they could not be recorded is told, and no
  // reason to say that they are not.
  Report(RecordAgentEvent(AuditKind::kConfigReloaded, actor, InWords(options_.gate)),
         "recording the reload");
  return absl::OkStatus();
}

absl::Status Gatekeeper::PutInForce(GatekeeperOptions options) {
  if (options.gate != options_.gate) {
    POSTERN_ASSIGN_OR_RETURN(const LiveFlows older, OlderFlowsAfter(options));
    const absl::Status status =
        RebuildTable(options.gate, older, UsageBefore::kRead, DeniedToKeep(options.gate));
    if (!status.ok()) {
      // The kernel may have done it all the same.
      Resync();
      return status;
    }
  }
  options_ = std::move(options);
  return absl::OkStatus();
}

absl::Status Gatekeeper::RebuildTable(const GateOptions& gate, const LiveFlows& older,
                                      UsageBefore usage,
                                      const std::vector<InstalledElement>& denied) {
  const Now now = with_.clock.Read();
  const std::vector<Grant> counted = CountedGrants(now, usage);
  const Counter dropped = ReadDropped().value_or(dropped_seen_);
  POSTERN_RETURN_IF_ERROR(Annotate(programmer_.Rebuild(gate, FlowsOf(older), denied, now.boot),
                                   "building the firewall's table"));
  for (const Grant& grant : counted) ledger_.SetUsage(grant.id, grant.usage);
  dropped_before_.packets += dropped.packets;
  dropped_before_.bytes += dropped.bytes;
  dropped_seen_ = Counter();
  older_ = older;
  // Whatever others had changed is undone.
  if (repairs_.is_pending()) repairs_.TakeRepair(now.boot, with_.clock.Read());
  return absl::OkStatus();
}

void Gatekeeper::Resync(UsageBefore usage) {
  const absl::Status status = RebuildTable(options_.gate, older_, usage);
  resync_wanted_ = !status.ok();
  if (status.ok()) return TakeBackRefused();
  retry_at_ = with_.clock.Read().boot + kRetryAfter;
  Report(status, "making the firewall equal to the ledger");
}

absl::Status Gatekeeper::RecordAgentEvent(AuditKind kind, absl::string_view actor,
                                          absl::string_view detail, std::vector<Write> writes) {
  Write write;
  write.audit = AgentEvent(kind, actor, detail, with_.clock.Read().wall);
  writes.push_back(std::move(write));
  POSTERN_RETURN_IF_ERROR(Commit(writes));
  AnnounceRecorded();
  return absl::OkStatus();
}

}  // namespace postern
