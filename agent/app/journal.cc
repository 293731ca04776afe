#include "agent/app/journal.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/systemd/log.h"

namespace postern {
namespace {

template <typename Value>
std::string Join(const std::vector<Value>& values) {
  return absl::StrJoin(values, ", ", [](std::string* out, const Value& value) {
    absl::StrAppend(out, value.ToString());
  });
}

const char* Verb(AuditKind kind) {
  switch (kind) {
    case AuditKind::kGrantCreated:
      return "created";
    case AuditKind::kGrantExtended:
      return "extended";
    case AuditKind::kGrantMoved:
      return "moved";
    case AuditKind::kGrantRevoked:
      return "revoked";
    case AuditKind::kGrantExpired:
      return "expired";
    case AuditKind::kGrantFailed:
      return "failed";
    case AuditKind::kAgentStarted:
      return "started";
    case AuditKind::kAgentStopped:
      return "stopped";
    case AuditKind::kConfigReloaded:
      return "reloaded";
    case AuditKind::kFirewallRepaired:
      return "repaired";
    case AuditKind::kClockChanged:
      return "clock changed";
    case AuditKind::kLockedDown:
      return "locked down";
    case AuditKind::kLockdownLifted:
      return "lockdown lifted";
    case AuditKind::kArmed:
      return "armed";
    case AuditKind::kConfirmed:
      return "confirmed";
    case AuditKind::kDisarmed:
      return "disarmed";
    case AuditKind::kLedgerReplaced:
      return "ledger replaced";
    case AuditKind::kGrantsRestored:
      return "restored";
  }
  return "unknown";
}

std::string Seconds(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

void LogAgentEvent(const AuditEvent& event) {
  switch (event.kind) {
    // These have their own, fuller lines.
    case AuditKind::kAgentStarted:
    case AuditKind::kAgentStopped:
    case AuditKind::kConfigReloaded:
      return;
    default:
      break;
  }
  std::string line = absl::StrCat("the gate: ", Verb(event.kind), " by ", event.actor);
  if (!event.detail.empty()) absl::StrAppend(&line, ": ", event.detail);
  Log(Priority::kWarning, line,
      {{"POSTERN_EVENT", Verb(event.kind)},
       {"POSTERN_NUMBER", absl::StrCat(event.number)},
       {"POSTERN_ACTOR", event.actor}});
}

}  // namespace

void LogEvent(const AuditEvent& event) {
  if (event.grant_id.empty()) return LogAgentEvent(event);
  std::string line =
      absl::StrCat("grant ", event.grant_id, " ", Verb(event.kind), " by ", event.actor, ": ",
                   Join(event.sources), " to ", Join(event.ports));
  if (event.end) absl::StrAppend(&line, " until ", Seconds(*event.end));
  if (!event.requestor.empty()) absl::StrAppend(&line, " for ", event.requestor);
  if (!event.detail.empty()) absl::StrAppend(&line, " (", event.detail, ")");
  Log(event.kind == AuditKind::kGrantFailed ? Priority::kError : Priority::kInfo, line,
      {{"POSTERN_EVENT", Verb(event.kind)},
       {"POSTERN_NUMBER", absl::StrCat(event.number)},
       {"POSTERN_GRANT", event.grant_id},
       {"POSTERN_ACTOR", event.actor},
       {"POSTERN_REQUESTOR", event.requestor}});
}

void LogDenied(const AccessKey& knock, bool enforced) {
  const std::string source = knock.source.address.ToString();
  const std::string port =
      absl::StrCat(knock.port, knock.protocol == Protocol::kTcp ? "/tcp" : "/udp");
  Log(Priority::kNotice,
      absl::StrCat(enforced ? "denied: " : "let through, as the mode is observe: ", source,
                   " knocked on ", port, " and no grant covers it"),
      {{"POSTERN_EVENT", "denied"}, {"POSTERN_SOURCE", source}, {"POSTERN_PORT", port}});
}

std::string StatusLine(const std::vector<uint16_t>& ports, const Gatekeeper& gatekeeper) {
  const bool enforce = gatekeeper.enforces();
  const size_t live_grants = gatekeeper.live_grants();
  std::string line = absl::StrCat(enforce ? "enforce: " : "observe: ", absl::StrJoin(ports, ", "),
                                  enforce ? " closed; " : " watched, nothing is dropped; ",
                                  live_grants, live_grants == 1 ? " live grant" : " live grants");
  if (const auto next_end = gatekeeper.NextEnd()) {
    absl::StrAppend(&line, ", next end ", Seconds(*next_end));
  }
  const Standing& standing = gatekeeper.standing();
  if (standing.lockdown) absl::StrAppend(&line, "; LOCKED DOWN");
  if (standing.armed && standing.armed->confirm_by) {
    absl::StrAppend(&line, "; observes again at ", Seconds(standing.armed->confirm_by->wall),
                    " unless confirmed");
  }
  return line;
}

}  // namespace postern
