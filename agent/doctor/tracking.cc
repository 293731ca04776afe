#include <linux/in.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "agent/doctor/foreign_findings.h"
#include "agent/doctor/naming.h"

namespace postern {
namespace {

using nft::EffectKind;

// NF_IP_PRI_CONNTRACK: what comes later no longer changes how it tracks.
constexpr int32_t kTracking = -200;

struct Meddling {
  const nft::ForeignTable* table = nullptr;
  Place place = {};
  bool conditional = false;
};

// The first rule that does `kind` to such a packet before it is tracked.
std::optional<Meddling> Find(const HostFacts& facts, Family family, HookPoint hook,
                             const Probe& probe, EffectKind kind) {
  std::optional<Meddling> found;
  ForEachChain(facts.ruleset, family, hook,
               [&](const nft::ForeignTable& table, const nft::ForeignChain& chain) {
                 if (chain.hook->priority >= kTracking) return;
                 for (const EffectAt& at : Walk(table, chain, probe).effects) {
                   if (at.effect->kind != kind) continue;
                   if (found.has_value() && !found->conditional) return;
                   found = {.table = &table, .place = at.place, .conditional = at.conditional};
                 }
               });
  return found;
}

// One kind of meddling with the packets of guarded ports.
struct Case {
  EffectKind kind;
  // The server's answers are treated alike.
  bool both_ways = false;
  friend bool operator<(const Case& a, const Case& b) {
    return std::tie(a.kind, a.both_ways) < std::tie(b.kind, b.both_ways);
  }
};

Finding Describe(const Case& what, const Meddling& first, const std::set<uint16_t>& ports) {
  const bool untracked = what.kind == EffectKind::kUntrack;
  Finding finding;
  finding.name = untracked ? "notrack" : "conntrack-zone";
  finding.finding = absl::StrCat(
      NamePlace(*first.table, first.place),
      untracked ? " takes packets for " : " puts packets for ", NamePorts(ports),
      untracked ? " out of connection tracking" : " into a connection tracking zone of their own",
      what.both_ways ? "." : ", and leaves the answers to them where they are.");
  if (what.both_ways) {
    finding.severity = Severity::kWarning;
    finding.consequence =
        "The gate goes on judging each packet that comes in, but it cannot remember a "
        "connection: a session ends with its grant even where the grant's on_expiry is keep, and "
        "what the server has still to send goes out after the end.";
  } else {
    finding.severity = first.conditional ? Severity::kWarning : Severity::kCritical;
    finding.consequence =
        "Connection tracking does not see the answers as part of their connections, so that the "
        "gate drops what the server sends: a granted session opens and then hangs.";
  }
  finding.remedy = absl::StrCat(
      "Remove that rule, or spare the guarded ports in it",
      !untracked ? ", or put the answers (`tcp sport`, hook output) into the same zone" : "",
      "; look at it with ", ShowCommand(*first.table, first.place), ".");
  return finding;
}

void AddMeddling(const HostFacts& facts, const Guard& guard, std::vector<Finding>& findings) {
  std::map<std::tuple<const nft::ForeignRule*, Case>, std::pair<Meddling, std::set<uint16_t>>> all;
  for (const EffectKind kind : {EffectKind::kUntrack, EffectKind::kZone}) {
    for (const Family family : kFamilies) {
      for (const uint16_t port : guard.ports) {
        const auto in = Find(facts, family, HookPoint::kPrerouting,
                             NewConnection(family, IPPROTO_TCP, port), kind);
        if (!in) continue;
        const auto out =
            Find(facts, family, HookPoint::kOutput, Answer(family, IPPROTO_TCP, port), kind);
        // A zone that has both directions is one like any other.
        if (out && kind == EffectKind::kZone) continue;
        auto& [meddling, ports] = all[{in->place.rule, Case{kind, out.has_value()}}];
        meddling = *in;
        ports.insert(port);
      }
    }
  }
  for (const auto& [key, found] : all) {
    findings.push_back(Describe(std::get<1>(key), found.first, found.second));
  }
}

void AddFlowtables(const HostFacts& facts, const std::vector<Published>& published,
                   std::vector<Finding>& findings) {
  std::set<const nft::ForeignRule*> told;
  for (const Family family : kFamilies) {
    ForEachChain(
        facts.ruleset, family, HookPoint::kForward,
        [&](const nft::ForeignTable& table, const nft::ForeignChain& chain) {
          Probe any;
          for (const EffectAt& at : Walk(table, chain, any).effects) {
            if (at.effect->kind != EffectKind::kOffload) continue;
            if (!told.insert(at.place.rule).second) continue;
            findings.push_back(
                {.severity = published.empty() ? Severity::kNotice : Severity::kWarning,
                 .name = "flowtable",
                 .finding = absl::StrCat(NamePlace(table, at.place),
                                         " hands flows to a flowtable (", at.effect->object, ")."),
                 .consequence = "The packets of such a flow go around the gate: a session with a "
                                "container or a host behind this one does not end with its grant "
                                "or with a revoke. Services of this host itself are not concerned.",
                 .remedy = absl::StrCat("Keep the flows of guarded ports out of it; look "
                                        "at it with ",
                                        ShowCommand(table, at.place), ".")});
          }
        });
  }
}

}  // namespace

void AddTracking(const HostFacts& facts, const Guard& guard,
                 const std::vector<Published>& published, std::vector<Finding>& findings) {
  AddMeddling(facts, guard, findings);
  AddFlowtables(facts, published, findings);
}

}  // namespace postern
