#include "cli/describe.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "cli/forms.h"
#include "cli/proto_time.h"
#include "cli/table.h"
#include "common/duration.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr char kGreen[] = "\033[32m";
constexpr char kRed[] = "\033[31m";
constexpr char kYellow[] = "\033[33m";

std::string Coloured(const std::string& word, const char* colour, const Reader& reader) {
  return reader.colour ? absl::StrCat(colour, word, "\033[0m") : word;
}

template <typename Strings>
std::string JoinPrintable(const Strings& strings) {
  return absl::StrJoin(strings, ", ", [](std::string* out, const std::string& text) {
    absl::StrAppend(out, Printable(text));
  });
}

template <typename Ports>
std::string JoinPorts(const Ports& ports) {
  return absl::StrJoin(ports, ", ", [](std::string* out, const v1::Port& port) {
    absl::StrAppend(out, FormatPort(port));
  });
}

std::string StateWord(v1::GrantState state) {
  return v1::GrantState_IsValid(state) ? v1::GrantState_Name(state) : absl::StrCat(state);
}

// "2024-05-01 14:30:00 CEST (2024-05-01T14:30:00+02:00), 59m58s left"
std::string LongTime(const google::protobuf::Timestamp& timestamp, const Reader& reader) {
  const absl::Time time = FromProto(timestamp);
  return absl::StrCat(absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", time, reader.zone), " (",
                      DescribeTime(time, reader), "), ", DescribeDistance(time, reader));
}

std::string Count(uint64_t count, absl::string_view noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

std::string DescribeUse(const v1::Usage& usage, const Reader& reader) {
  if (usage.packets() == 0) return "never";
  std::string use = Count(usage.packets(), "packet");
  if (usage.has_last_used()) {
    absl::StrAppend(&use, ", ", DescribeDistance(FromProto(usage.last_used()), reader));
  }
  return use;
}

// What an event did, after its kind: "GRANT_CREATED" to "created".
std::string EventWord(v1::AuditKind kind) {
  if (!v1::AuditKind_IsValid(kind)) return absl::StrCat("event kind ", kind);
  return absl::AsciiStrToLower(absl::StrReplaceAll(v1::AuditKind_Name(kind), {{"_", " "}}));
}

}  // namespace

std::string DescribeTime(absl::Time time, const Reader& reader) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%S%Ez", time, reader.zone);
}

std::string DescribeDistance(absl::Time time, const Reader& reader) {
  return time > reader.now ? absl::StrCat(DurationText(time - reader.now), " left")
                           : absl::StrCat(DurationText(reader.now - time), " ago");
}

std::string DescribeGrant(const v1::Grant& grant, const Reader& reader) {
  const bool active = grant.state() == v1::ACTIVE;
  Block block;
  block.Add("from", JoinPrintable(grant.source_prefixes()));
  block.Add("ports", JoinPorts(grant.ports()));
  block.Add(active ? "until" : "ended", LongTime(grant.end_time(), reader));
  if (!active && !grant.end_cause().empty()) block.Add("cause", Printable(grant.end_cause()));
  if (v1::OnExpiry_IsValid(grant.on_expiry())) {
    block.Add("on expiry", absl::AsciiStrToLower(v1::OnExpiry_Name(grant.on_expiry())));
  }
  if (!grant.requestor().empty()) block.Add("requestor", Printable(grant.requestor()));
  if (!grant.justification().empty()) {
    block.Add("justification", Printable(grant.justification()));
  }
  return absl::StrCat("grant ", Printable(grant.id()), " ",
                      Coloured(StateWord(grant.state()), active ? kGreen : kYellow, reader), "\n",
                      block.Render());
}

std::string DescribeGrants(const std::vector<v1::Grant>& grants, const Reader& reader) {
  const std::vector<Column> columns = {{.title = "ID"},
                                       {.title = "SOURCE", .may_shrink = true},
                                       {.title = "PORTS", .may_shrink = true},
                                       {.title = "STATE"},
                                       {.title = "ENDS"},
                                       {.title = "REQUESTOR", .may_shrink = true},
                                       {.title = "USED", .may_shrink = true}};
  std::vector<std::vector<std::string>> rows;
  for (const v1::Grant& grant : grants) {
    rows.push_back({Printable(grant.id()), JoinPrintable(grant.source_prefixes()),
                    JoinPorts(grant.ports()), StateWord(grant.state()),
                    DescribeDistance(FromProto(grant.end_time()), reader),
                    Printable(grant.requestor()), DescribeUse(grant.usage(), reader)});
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribeDenied(const v1::ListDeniedResponse& denied, const Reader& reader) {
  Reader at_agent = reader;
  if (denied.has_now()) at_agent.now = FromProto(denied.now());
  std::vector<std::vector<std::string>> rows;
  for (const v1::DeniedSource& source : denied.sources()) {
    rows.push_back({Printable(source.source_address()), FormatPort(source.port()),
                    absl::StrCat(source.packets()), absl::StrCat(source.bytes()),
                    DescribeDistance(FromProto(source.last_seen()), at_agent)});
  }
  return RenderTable({{.title = "SOURCE"},
                      {.title = "PORT"},
                      {.title = "PACKETS"},
                      {.title = "BYTES"},
                      {.title = "LAST"}},
                     rows, reader.width);
}

// To the millisecond: the way of the request is in it.
std::string DescribeSkew(absl::Duration skew) {
  const absl::Duration size = absl::Trunc(absl::AbsDuration(skew), absl::Milliseconds(1));
  if (size == absl::ZeroDuration()) return "as the last caller's";
  return absl::StrCat(absl::FormatDuration(size),
                      skew < absl::ZeroDuration() ? " behind" : " ahead of", " the last caller's");
}

std::string DescribeStatus(const v1::GetStatusResponse& status, const Reader& reader) {
  // The agent's clock is the one its times were read from.
  Reader at_agent = reader;
  if (status.has_now()) at_agent.now = FromProto(status.now());
  const bool observing = status.mode() == "observe";
  const auto or_else = [](const std::string& text, const char* otherwise) {
    return text.empty() ? std::string(otherwise) : text;
  };
  Block block;
  block.Add("mode", observing ? Coloured("observe (nothing is dropped)", kYellow, reader)
                              : Coloured(Printable(status.mode()), kGreen, reader));
  if (status.has_lockdown()) {
    block.Add("LOCKED DOWN", absl::StrCat("by ", Printable(status.lockdown().actor()), " since ",
                                          LongTime(status.lockdown().since(), at_agent),
                                          status.lockdown().reason().empty() ? "" : ": ",
                                          Printable(status.lockdown().reason())));
  }
  if (status.has_armed()) {
    block.Add("armed", absl::StrCat("by ", Printable(status.armed().actor()), " since ",
                                    LongTime(status.armed().since(), at_agent)));
    block.Add("observes again", status.armed().has_confirm_by()
                                    ? absl::StrCat(LongTime(status.armed().confirm_by(), at_agent),
                                                   ", unless posternctl confirm comes before")
                                    : "once it is disarmed");
  }
  block.Add("guarded ports",
            absl::StrCat(absl::StrJoin(status.guarded_ports(), ", "), " (TCP and UDP)"));
  block.Add("always allowed", or_else(JoinPrintable(status.always_allow()), "nobody"));
  block.Add("live grants",
            absl::StrCat(status.live_grants(), " of at most ", status.max_live_grants()));
  if (status.withheld_grants() > 0) {
    block.Add("withheld", absl::StrCat(Count(status.withheld_grants(), "grant"), " of before the ",
                                       "reboot: ", Printable(status.withheld_reason())));
  }
  block.Add("next end", status.has_next_end() ? LongTime(status.next_end(), at_agent) : "none");
  block.Add("longest grant", DurationText(FromProto(status.max_duration())));
  block.Add(observing ? "would be dropped" : "dropped",
            absl::StrCat(Count(status.dropped_packets(), "packet"), ", ",
                         Count(status.dropped_bytes(), "byte")));
  block.Add("table", status.table_protected() ? "protected from other programs"
                                              : "watched; this kernel cannot protect it");
  const v1::RepairState& repairs = status.repairs();
  block.Add("repaired", repairs.count() == 0
                            ? std::string("never")
                            : absl::StrCat(Count(repairs.count(), "time"), ", last ",
                                           LongTime(repairs.last(), at_agent), ": ",
                                           Printable(repairs.last_detail())));
  if (status.has_clock_skew()) {
    block.Add("clock", DescribeSkew(FromProto(status.clock_skew())));
  }
  if (status.has_controller()) {
    const v1::ControllerState& controller = status.controller();
    block.Add(
        "controller",
        absl::StrCat(Printable(controller.address()),
                     controller.attached() ? ", attached since " : ", away since ",
                     LongTime(controller.since(), at_agent), "; revision ", controller.revision()));
  }
  block.Add("started", LongTime(status.started(), at_agent));
  block.Add("listens on", or_else(Printable(status.listen_address()), "the local socket only"));
  block.Add("your address", or_else(Printable(status.caller_address()), "the local socket"));
  for (const std::string& warning : status.warnings()) {
    block.Add("warning", Printable(warning));
  }
  return absl::StrCat("postern agent ", Printable(status.version()), "\n", block.Render());
}

std::string DescribeFindings(const v1::DiagnoseResponse& diagnosis, const Reader& reader) {
  if (diagnosis.findings().empty()) {
    return "nothing was found that would make a grant void or the gate pointless\n";
  }
  std::string out;
  for (const v1::Finding& finding : diagnosis.findings()) {
    const bool known = v1::FindingSeverity_IsValid(finding.severity());
    const std::string severity = known ? v1::FindingSeverity_Name(finding.severity())
                                       : absl::StrCat("severity ", finding.severity());
    const bool notice = finding.severity() == v1::NOTICE;
    const char* colour = finding.severity() == v1::CRITICAL ? kRed : kYellow;
    absl::StrAppend(&out, out.empty() ? "" : "\n",
                    notice ? severity : Coloured(severity, colour, reader), " ",
                    Printable(finding.name()), "\n");
    Block block;
    block.Add("found", Printable(finding.finding()));
    block.Add("matters", Printable(finding.consequence()));
    block.Add("way out", Printable(finding.remedy()));
    absl::StrAppend(&out, block.Render());
  }
  return out;
}

std::string DescribeCheck(const v1::CheckAccessResponse& check, const Reader& reader) {
  if (!check.allowed()) {
    return absl::StrCat(Coloured("denied", kRed, reader), ": ", Printable(check.reason()), "\n");
  }
  const std::string allowed = Coloured("allowed", kGreen, reader);
  if (check.grant_id().empty()) {
    return absl::StrCat(allowed, ": ", Printable(check.reason()), "\n");
  }
  return absl::StrCat(allowed, " by grant ", Printable(check.grant_id()), " until ",
                      DescribeTime(FromProto(check.end_time()), reader), "\n");
}

std::string DescribeEvent(const v1::AuditEvent& event, const Reader& reader) {
  std::string line =
      absl::StrCat("#", event.number(), " ", DescribeTime(FromProto(event.time()), reader), " ",
                   EventWord(event.kind()));
  const auto add = [&](absl::string_view before, const std::string& text) {
    if (!text.empty()) absl::StrAppend(&line, before, text);
  };
  add(" ", Printable(event.grant_id()));
  add(" from ", JoinPrintable(event.source_prefixes()));
  add(" to ", JoinPorts(event.ports()));
  if (event.has_end_time()) add(" until ", DescribeTime(FromProto(event.end_time()), reader));
  add(" for ", Printable(event.requestor()));
  add(" by ", Printable(event.actor()));
  add(": ", Printable(event.detail()));
  return absl::StrCat(line, "\n");
}

}  // namespace postern
