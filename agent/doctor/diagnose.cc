#include "agent/doctor/diagnose.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/doctor/foreign_findings.h"
#include "agent/doctor/naming.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr size_t kMaxFindings = 200;
// Every connection of the host takes an entry; the kernel's own default is
// 65,536 for a machine of a GiB or more, and 7,680 for a small one.
constexpr uint64_t kFewTracked = 4096;

void AddGate(const HostFacts& facts, const Guard& guard, std::vector<Finding>& findings) {
  // Where nothing could be read nothing can be told.
  if (facts.ruleset.tables.empty() && !facts.unread.empty()) return;
  if (GatePriority(facts.ruleset).has_value()) return;
  findings.push_back({.severity = guard.enforce ? Severity::kCritical : Severity::kWarning,
                      .name = "gate-missing",
                      .finding = "The table inet postern is not there, or lacks its chains at "
                                 "prerouting, or is dormant.",
                      .consequence = guard.enforce ? "The guarded ports are open to everybody."
                                                   : "Nothing is counted.",
                      .remedy = "The agent puts it back by itself; if it does not, restart it "
                                "(`systemctl restart postern-agent`) and look for the program "
                                "that removes it (`nft monitor`)."});
}

void AddObserving(const Guard& guard, std::vector<Finding>& findings) {
  if (guard.enforce) return;
  findings.push_back({.severity = Severity::kNotice,
                      .name = "observe-mode",
                      .finding = "The gate observes: agent.yaml says `mode: observe`, and it is "
                                 "not armed.",
                      .consequence = "It counts what it would drop, and drops nothing.",
                      .remedy = "`posternctl arm --confirm-within 10m` tries enforcing; `mode: "
                                "enforce` makes it last."});
}

void AddListeners(const HostFacts& facts, const Guard& guard,
                  const std::vector<Published>& published, std::vector<Finding>& findings) {
  std::set<uint16_t> silent;
  for (const uint16_t port : guard.ports) {
    const bool leads_away = std::any_of(published.begin(), published.end(),
                                        [&](const Published& one) { return one.port == port; });
    const Listener* loopback = nullptr;
    bool reachable = leads_away;
    for (const Listener& listener : facts.listeners) {
      if (listener.port != port) continue;
      if (IsLoopback(listener.address)) {
        loopback = &listener;
      } else {
        reachable = true;
      }
    }
    if (reachable) continue;
    if (loopback == nullptr) {
      silent.insert(port);
      continue;
    }
    const std::string who = loopback->process.empty() ? "A service" : loopback->process;
    findings.push_back(
        {.severity = Severity::kWarning,
         .name = "loopback-listener",
         .finding = absl::StrCat(who, " serves port ", port, " on ", loopback->address.ToString(),
                                 " only."),
         .consequence = "Loopback is not reached from outside: a grant for the port opens nothing.",
         .remedy = "Have the service listen on the address it is to be reached at (sshd: "
                   "ListenAddress), or take the port out of guard.ports in agent.yaml."});
  }
  // Several guarded ports are the default, and few hosts serve them all.
  if (silent.empty()) return;
  findings.push_back({.severity = Severity::kNotice,
                      .name = "no-listener",
                      .finding = absl::StrCat("Nothing serves ", NamePorts(silent), "."),
                      .consequence = "A grant for such a port opens nothing now.",
                      .remedy = "Nothing, if it is meant to be so; otherwise start the service, or "
                                "take the port out of guard.ports in agent.yaml."});
}

void AddLegacy(const HostFacts& facts, std::vector<Finding>& findings) {
  const auto add = [&findings](const std::vector<std::string>& tables, const std::string& program) {
    if (tables.empty()) return;
    std::vector<std::string> names;
    for (const std::string& table : tables) names.push_back(Printable(table));
    findings.push_back(
        {.severity = Severity::kWarning,
         .name = "legacy-iptables",
         .finding =
             absl::StrCat("The tables ", JoinWords(names), " of ", program, "-legacy exist."),
         .consequence = "The kernel runs them beside nftables, and the doctor cannot see their "
                        "rules: a drop in them makes grants void.",
         .remedy = absl::StrCat("Look at them with `", program,
                                "-legacy -S`; move what is needed "
                                "to nftables, and unload the rest (`",
                                program,
                                "-legacy -F`, "
                                "`rmmod ",
                                program == "iptables" ? "iptable_" : "ip6table_", "filter`).")});
  };
  add(facts.legacy_ipv4_tables, "iptables");
  add(facts.legacy_ipv6_tables, "ip6tables");
}

void AddIpv6(const HostFacts& facts, std::vector<Finding>& findings) {
  if (facts.ipv6_enabled) return;
  findings.push_back({.severity = Severity::kNotice,
                      .name = "ipv6-disabled",
                      .finding = "IPv6 is switched off on this host.",
                      .consequence = "Grants for IPv6 sources open nothing.",
                      .remedy = "Nothing, if it is meant to be so; otherwise `sysctl "
                                "net.ipv6.conf.all.disable_ipv6=0`."});
}

void AddSockets(const HostFacts& facts, std::vector<Finding>& findings) {
  if (facts.destroys_sockets) return;
  findings.push_back({.severity = Severity::kNotice,
                      .name = "sockets-stay",
                      .finding = "This kernel cannot destroy sockets: it is built without "
                                 "CONFIG_INET_DIAG_DESTROY.",
                      .consequence = "No packet of a session passes after its reset grant has "
                                     "ended, or its grant was revoked; but neither side is told, "
                                     "and the server's socket stays until it times out.",
                      .remedy = "Nothing for the gate to hold; where sessions are to end at once, "
                                "a kernel that is built with it."});
}

void AddConntrack(const HostFacts& facts, std::vector<Finding>& findings) {
  if (facts.tracked && facts.tracked_at_most && *facts.tracked_at_most > 0) {
    const uint64_t most = *facts.tracked_at_most;
    const std::string raise = absl::StrCat(
        "Raise it (`sysctl net.netfilter.nf_conntrack_max=", std::max<uint64_t>(2 * most, 65536),
        "`), and make that last in /etc/sysctl.d.");
    if (*facts.tracked >= most - most / 10) {
      const bool full = *facts.tracked >= most;
      findings.push_back(
          {.severity = full ? Severity::kCritical : Severity::kWarning,
           .name = "conntrack-full",
           .finding = absl::StrCat("Connection tracking holds ", *facts.tracked, " of at most ",
                                   most, " connections (net.netfilter.nf_conntrack_max)."),
           .consequence = "When it is full the kernel drops the first packet of every new "
                          "connection, granted ones as well.",
           .remedy = raise});
    } else if (most < kFewTracked) {
      findings.push_back(
          {.severity = Severity::kWarning,
           .name = "conntrack-small",
           .finding = absl::StrCat("Connection tracking holds at most ", most,
                                   " connections (net.netfilter.nf_conntrack_max)."),
           .consequence = "Few clients, or one with ill intent, fill it; the kernel then drops the "
                          "first packet of every new connection, granted ones as well.",
           .remedy = raise});
    }
  }
  if (facts.tracks_midstream == false) {
    findings.push_back(
        {.severity = Severity::kNotice,
         .name = "conntrack-strict",
         .finding = "Connection tracking takes up no TCP connection in its middle "
                    "(net.netfilter.nf_conntrack_tcp_loose is 0).",
         .consequence = "Connections that are older than it are invalid to it: the gate lets them "
                        "live on, but another firewall's `ct state invalid drop` ends them.",
         .remedy = "Nothing, if it is meant to be so; otherwise `sysctl "
                   "net.netfilter.nf_conntrack_tcp_loose=1`."});
  }
}

void AddUnread(const HostFacts& facts, std::vector<Finding>& findings) {
  for (const std::string& why : facts.unread) {
    findings.push_back(
        {.severity = Severity::kWarning,
         .name = "not-examined",
         .finding = absl::StrCat("Something could not be read: ", Printable(why), "."),
         .consequence = "What is wrong there is not told here.",
         .remedy = "The agent needs CAP_NET_ADMIN, and its unit gives it that; for "
                   "files of /proc see the unit's ProtectProc= and ProcSubset=."});
  }
  if (facts.legacy_tables_unread) {
    findings.push_back({.severity = Severity::kNotice,
                        .name = "legacy-tables-not-examined",
                        .finding =
                            "Whether iptables-legacy has rules on this host was not examined: "
                            "the kernel tells root alone.",
                        .consequence = "Its drops could make a grant void, and are not told here.",
                        .remedy = "Nothing, where nobody uses it; otherwise look with "
                                  "`iptables-legacy-save` and `ip6tables-legacy-save`."});
  }
  if (!facts.ruleset.cut_short) return;
  findings.push_back({.severity = Severity::kWarning,
                      .name = "not-examined",
                      .finding = absl::StrCat("The rulesets of this host are larger than is read: "
                                              "at most ",
                                              nft::kMaxForeignRules, " rules and ",
                                              nft::kMaxForeignElements, " elements of sets."),
                      .consequence = "What is wrong in the rest is not told here.",
                      .remedy = "Look for drops of the guarded ports with `nft list ruleset`."});
}

}  // namespace

std::vector<Finding> Diagnose(const HostFacts& facts, const Guard& guard) {
  std::vector<Finding> findings;
  const std::vector<Published> published = FindPublished(facts, guard);
  AddGate(facts, guard, findings);
  AddDrops(facts, guard, published, findings);
  AddDetours(facts, guard, published, findings);
  AddTracking(facts, guard, published, findings);
  AddConntrack(facts, findings);
  AddSockets(facts, findings);
  AddLegacy(facts, findings);
  AddListeners(facts, guard, published, findings);
  AddMakers(facts, findings);
  AddIpv6(facts, findings);
  AddObserving(guard, findings);
  AddUnread(facts, findings);
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  if (findings.size() > kMaxFindings) findings.resize(kMaxFindings);
  for (Finding& finding : findings) {
    // Some begin with what they are about.
    finding.finding[0] = absl::ascii_toupper(static_cast<unsigned char>(finding.finding[0]));
  }
  return findings;
}

}  // namespace postern
