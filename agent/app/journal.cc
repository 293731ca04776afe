#include "agent/app/journal.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace postern {
namespace {

constexpr char kSource[] = "POSTERN_SOURCE";
constexpr char kPort[] = "POSTERN_PORT";

template <typename Value>
std::string Join(const std::vector<Value>& values) {
  return absl::StrJoin(values, ", ", [](std::string* out, const Value& value) {
    absl::StrAppend(out, value.ToString());
  });
}

// "GRANT_CREATED": "grant created".
std::string InWords(const JournalKind& kind) {
  return absl::AsciiStrToLower(absl::StrReplaceAll(kind.event, {{"_", " "}}));
}

std::string AboutGrant(const AuditEvent& event) {
  const std::string words = InWords(KindOf(event.kind));
  std::string text =
      absl::StrCat("grant ", event.grant_id, " ", absl::StripPrefix(words, "grant "), " by ",
                   event.actor, ": ", Join(event.sources), " to ", Join(event.ports));
  if (event.end) {
    absl::StrAppend(&text, " until ",
                    absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *event.end, absl::UTCTimeZone()));
  }
  if (!event.requestor.empty()) absl::StrAppend(&text, " for ", event.requestor);
  if (!event.detail.empty()) absl::StrAppend(&text, " (", event.detail, ")");
  return text;
}

std::string AboutGate(const AuditEvent& event) {
  std::string text = absl::StrCat("the gate: ", InWords(KindOf(event.kind)), " by ", event.actor);
  if (!event.detail.empty()) absl::StrAppend(&text, ": ", event.detail);
  return text;
}

}  // namespace

LogLine LineOf(const JournalKind& kind, std::string message) {
  return {.priority = kind.priority,
          .message = std::move(message),
          .fields = {{"MESSAGE_ID", kind.message_id}, {"POSTERN_EVENT", kind.event}}};
}

LogLine LineOf(const AuditEvent& event) {
  LogLine line =
      LineOf(KindOf(event.kind), event.grant_id.empty() ? AboutGate(event) : AboutGrant(event));
  line.fields.emplace_back("POSTERN_NUMBER", absl::StrCat(event.number));
  line.fields.emplace_back("POSTERN_ACTOR", event.actor);
  if (!event.grant_id.empty()) line.fields.emplace_back("POSTERN_GRANT_ID", event.grant_id);
  if (!event.requestor.empty()) line.fields.emplace_back("POSTERN_REQUESTOR", event.requestor);
  for (const Prefix& source : event.sources) line.fields.emplace_back(kSource, source.ToString());
  for (const Port& port : event.ports) line.fields.emplace_back(kPort, port.ToString());
  return line;
}

LogLine DeniedLine(const AccessKey& knock, bool enforced) {
  const std::string port =
      absl::StrCat(knock.port, knock.protocol == Protocol::kTcp ? "/tcp" : "/udp");
  LogLine line = LineOf(
      kAccessDenied, absl::StrCat(enforced ? "denied: " : "let through, as the mode is observe: ",
                                  knock.source.address.ToString(), " knocked on ", port,
                                  " and no grant covers it"));
  line.fields.emplace_back(kSource, knock.source.ToString());
  line.fields.emplace_back(kPort, port);
  return line;
}

LogLine UncoveredLine(const Flow& session) {
  LogLine line =
      LineOf(kSessionUncovered,
             absl::StrCat("the session from ", session.ToString(),
                          " stays, but no grant covers it: it could not be opened again"));
  line.fields.emplace_back(kSource, Prefix::Host(session.remote).ToString());
  line.fields.emplace_back(kPort, absl::StrCat(session.local_port, "/tcp"));
  return line;
}

void LogEvent(const AuditEvent& event) {
  switch (event.kind) {
    case AuditKind::kAgentStarted:
    case AuditKind::kAgentStopped:
    case AuditKind::kConfigReloaded:
      return;
    default:
      return Log(LineOf(event));
  }
}

}  // namespace postern
