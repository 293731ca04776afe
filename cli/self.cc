#include "cli/self.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/forms.h"
#include "cli/proto_time.h"
#include "common/duration.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr uint32_t kSshPort = 22;
// As many sources are told of; posternctl denied lists all.
constexpr int kMostKnocks = 5;
constexpr absl::Duration kOfferedDuration = absl::Hours(1);

bool Covers(const v1::Grant& grant, const Address& source, const v1::Port& port) {
  const auto& ports = grant.ports();
  const bool port_covered = std::any_of(ports.begin(), ports.end(), [&](const v1::Port& granted) {
    return granted.number() == port.number() &&
           (granted.protocol() == v1::ANY || granted.protocol() == port.protocol());
  });
  if (!port_covered) return false;
  const auto& prefixes = grant.source_prefixes();
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& text) {
    const absl::StatusOr<Prefix> prefix = Prefix::Parse(text);
    return prefix.ok() && prefix->Contains(source);
  });
}

// The one among those that cover the knock whose end is the latest.
const v1::Grant* LatestCovering(const std::vector<v1::Grant>& grants, bool live,
                                const v1::DeniedSource& knock) {
  const absl::StatusOr<Address> source = Address::Parse(knock.source_address());
  const v1::Grant* latest = nullptr;
  if (!source.ok()) return latest;
  for (const v1::Grant& grant : grants) {
    if ((grant.state() == v1::ACTIVE) != live || !Covers(grant, *source, knock.port())) continue;
    if (latest == nullptr || FromProto(grant.end_time()) > FromProto(latest->end_time())) {
      latest = &grant;
    }
  }
  return latest;
}

bool IsGuarded(const v1::GetStatusResponse& status, uint32_t port) {
  const auto& guarded = status.guarded_ports();
  return std::find(guarded.begin(), guarded.end(), port) != guarded.end();
}

std::string GrantCommandFor(const v1::GetStatusResponse& status, const v1::DeniedSource& knock) {
  if (status.has_lockdown() || !IsGuarded(status, knock.port().number())) return "";
  const absl::Duration longest = FromProto(status.max_duration());
  const absl::Duration duration = longest > absl::ZeroDuration()
                                      ? std::min<absl::Duration>(kOfferedDuration, longest)
                                      : kOfferedDuration;
  const std::string port = knock.port().protocol() == v1::TCP ? absl::StrCat(knock.port().number())
                                                              : FormatPort(knock.port());
  return absl::StrCat("posternctl grant --from ", knock.source_address(), " --port ", port,
                      " --for ", DurationText(duration));
}

void AddKnocks(const SelfFacts& facts, v1::SelfReport& report) {
  for (const v1::DeniedSource& source : facts.denied.sources()) {
    if (report.knocks_size() == kMostKnocks) break;
    v1::Knock& knock = *report.add_knocks();
    *knock.mutable_source() = source;
    if (const v1::Grant* live = LatestCovering(facts.grants, true, source)) {
      *knock.mutable_live_grant() = *live;
      continue;
    }
    if (const v1::Grant* ended = LatestCovering(facts.grants, false, source)) {
      *knock.mutable_ended_grant() = *ended;
    }
    knock.set_command(GrantCommandFor(*facts.status, source));
  }
  report.set_total_knocks(facts.denied.total());
}

void AddListeners(const SelfFacts& facts, v1::SelfReport& report) {
  std::vector<ListeningSocket> listeners = facts.listeners;
  std::sort(listeners.begin(), listeners.end(),
            [](const ListeningSocket& a, const ListeningSocket& b) {
              return a.port != b.port ? a.port < b.port : a.address < b.address;
            });
  listeners.erase(std::unique(listeners.begin(), listeners.end()), listeners.end());
  for (const ListeningSocket& socket : listeners) {
    const bool wanted =
        facts.status.ok() ? IsGuarded(*facts.status, socket.port) : socket.port == kSshPort;
    if (!wanted) continue;
    v1::Listener& added = *report.add_listeners();
    added.set_address(socket.address.ToString());
    added.set_port(socket.port);
    added.set_loopback(IsLoopback(socket.address));
  }
}

bool IsReachable(const v1::SelfReport& report, uint32_t port) {
  return std::any_of(
      report.listeners().begin(), report.listeners().end(),
      [&](const v1::Listener& each) { return each.port() == port && !each.loopback(); });
}

void AddAdvice(const SelfFacts& facts, v1::SelfReport& report) {
  const auto advise = [&report](std::string step) { report.add_advice(std::move(step)); };
  if (!facts.status.ok()) {
    advise("see whether the agent runs, and why not: systemctl status postern-agent");
    advise("read what it said last: journalctl -u postern-agent -b -e");
    advise(
        "what it closed stays closed without it, and live grants end on their own; to look: "
        "nft list table inet postern");
    return;
  }
  const v1::GetStatusResponse& status = *facts.status;
  if (IsGuarded(status, kSshPort) && !IsReachable(report, kSshPort)) {
    advise("start sshd, or have it listen on more than loopback: systemctl status ssh");
  }
  if (status.has_lockdown()) {
    advise("no grant is made while the host is locked down: posternctl lockdown --lift");
  }
  if (status.mode() == "observe") {
    advise("the gate drops nothing; what keeps you out is something else: posternctl doctor");
  } else if (report.total_knocks() == 0) {
    advise(
        "nobody was refused lately: what you send does not come this far. Look at the address you "
        "use, and at firewalls and security groups before this host");
  }
  if (!report.findings().empty()) advise("see to what the doctor found: posternctl doctor");
}

std::string Times(uint64_t count) { return count == 1 ? "once" : absl::StrCat(count, " times"); }

std::string SourcesAndPorts(const v1::Grant& grant) {
  const std::string ports = absl::StrJoin(
      grant.ports(), ", ",
      [](std::string* out, const v1::Port& port) { absl::StrAppend(out, FormatPort(port)); });
  return absl::StrCat(Printable(absl::StrJoin(grant.source_prefixes(), ", ")), " to ", ports);
}

std::string DescribeGate(const v1::GetStatusResponse& status, const Reader& reader) {
  const bool observing = status.mode() == "observe";
  std::string text = absl::StrCat(
      "the gate: ", Printable(status.mode()), "; ", absl::StrJoin(status.guarded_ports(), ", "),
      observing ? " are watched, and nothing is dropped\n" : " are closed but for grants\n");
  if (status.has_lockdown()) {
    absl::StrAppend(&text, "  LOCKED DOWN by ", Printable(status.lockdown().actor()), " since ",
                    DescribeTime(FromProto(status.lockdown().since()), reader),
                    status.lockdown().reason().empty() ? "" : ": ",
                    Printable(status.lockdown().reason()), "\n");
  }
  if (status.has_armed() && status.armed().has_confirm_by()) {
    absl::StrAppend(&text, "  observes again at ",
                    DescribeTime(FromProto(status.armed().confirm_by()), reader),
                    " unless posternctl confirm comes before that\n");
  }
  if (!status.always_allow().empty()) {
    absl::StrAppend(
        &text, "  always allowed: ", Printable(absl::StrJoin(status.always_allow(), ", ")), "\n");
  }
  return text;
}

std::string DescribeListeners(const v1::SelfReport& report) {
  std::string text = "who listens:\n";
  for (const v1::Listener& listener : report.listeners()) {
    absl::StrAppend(
        &text, "  ", listener.port(), "/tcp on ", Printable(listener.address()),
        listener.loopback() ? ": loopback, out of reach from outside, grant or not" : "", "\n");
  }
  return report.listeners().empty() ? absl::StrCat(text, "  nobody on a guarded TCP port\n") : text;
}

std::string DescribeKnock(const v1::Knock& knock, bool let_through, const Reader& reader) {
  const v1::DeniedSource& source = knock.source();
  std::string text = absl::StrCat(
      "  ", Printable(source.source_address()), " knocked on ", FormatPort(source.port()), " ",
      Times(source.packets()), ", last ", DescribeDistance(FromProto(source.last_seen()), reader),
      let_through ? ", and was let through\n" : "\n");
  if (knock.has_live_grant()) {
    absl::StrAppend(&text, "    grant ", Printable(knock.live_grant().id()), " covers it by now (",
                    DescribeDistance(FromProto(knock.live_grant().end_time()), reader),
                    "): try again\n");
  }
  if (knock.has_ended_grant()) {
    const v1::Grant& grant = knock.ended_grant();
    absl::StrAppend(&text, "    grant ", Printable(grant.id()), " for it ended ",
                    DescribeDistance(FromProto(grant.end_time()), reader),
                    grant.end_cause().empty() ? "" : ": ", Printable(grant.end_cause()), "\n");
  }
  if (!knock.command().empty()) {
    absl::StrAppend(&text, "    if that is you: ", Printable(knock.command()), "\n");
  }
  return text;
}

std::string DescribeKnocks(const v1::SelfReport& report, const Reader& reader) {
  if (report.knocks().empty()) return "who knocked without a grant lately:\n  nobody\n";
  std::string text = "who knocked without a grant lately:\n";
  const bool let_through = report.status().mode() == "observe";
  for (const v1::Knock& knock : report.knocks()) {
    absl::StrAppend(&text, DescribeKnock(knock, let_through, reader));
  }
  const auto told = static_cast<uint32_t>(report.knocks_size());
  if (report.total_knocks() > told) {
    absl::StrAppend(&text, "  and ", report.total_knocks() - told, " more: posternctl denied\n");
  }
  return text;
}

std::string DescribeLiveGrants(const v1::SelfReport& report, const Reader& reader) {
  std::string text = "live grants:\n";
  for (const v1::Grant& grant : report.live_grants()) {
    absl::StrAppend(&text, "  ", SourcesAndPorts(grant), ", ",
                    DescribeDistance(FromProto(grant.end_time()), reader), "\n");
  }
  return report.live_grants().empty() ? absl::StrCat(text, "  none\n") : text;
}

std::string DescribeSsh(const v1::SelfReport& report) {
  if (report.ssh_client().empty()) return "";
  std::string text = absl::StrCat("you came over ssh from ", Printable(report.ssh_client()), "\n");
  if (!report.has_ssh_client_access()) return text;
  const v1::CheckAccessResponse& access = report.ssh_client_access();
  absl::StrAppend(&text, "  a new connection from there would ",
                  access.allowed() ? "pass: " : "be refused: ", Printable(access.reason()), "\n");
  return text;
}

std::string DescribeFound(const v1::SelfReport& report) {
  if (report.findings().empty()) return "";
  std::string text = "what the doctor found:\n";
  for (const v1::Finding& finding : report.findings()) {
    absl::StrAppend(&text, "  ", Printable(finding.name()), ": ", Printable(finding.finding()),
                    "\n");
  }
  return text;
}

}  // namespace

v1::SelfReport PutTogether(const SelfFacts& facts) {
  v1::SelfReport report;
  if (facts.ssh_client) report.set_ssh_client(facts.ssh_client->ToString());
  AddListeners(facts, report);
  if (!facts.status.ok()) {
    report.set_agent_problem(std::string(facts.status.status().message()));
    AddAdvice(facts, report);
    return report;
  }
  *report.mutable_status() = *facts.status;
  AddKnocks(facts, report);
  for (const v1::Grant& grant : facts.grants) {
    if (grant.state() == v1::ACTIVE) *report.add_live_grants() = grant;
  }
  for (const v1::Finding& finding : facts.diagnosis.findings()) {
    if (finding.severity() != v1::NOTICE) *report.add_findings() = finding;
  }
  if (facts.ssh_client_access) *report.mutable_ssh_client_access() = *facts.ssh_client_access;
  AddAdvice(facts, report);
  return report;
}

std::string DescribeSelf(const v1::SelfReport& report, const Reader& reader) {
  std::string text;
  if (!report.agent_problem().empty()) {
    absl::StrAppend(&text, "the agent does not answer: ", Printable(report.agent_problem()), "\n",
                    DescribeListeners(report));
  } else {
    absl::StrAppend(&text, DescribeGate(report.status(), reader), DescribeListeners(report),
                    DescribeKnocks(report, reader), DescribeLiveGrants(report, reader),
                    DescribeSsh(report), DescribeFound(report));
  }
  if (!report.advice().empty()) absl::StrAppend(&text, "what to do:\n");
  for (const std::string& step : report.advice()) {
    absl::StrAppend(&text, "  - ", Printable(step), "\n");
  }
  return text;
}

}  // namespace postern
