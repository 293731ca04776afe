#include <linux/in.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/doctor/foreign_findings.h"
#include "agent/doctor/naming.h"

namespace postern {
namespace {

using nft::EffectKind;

bool IsGuarded(const Guard& guard, uint16_t port) {
  return std::find(guard.ports.begin(), guard.ports.end(), port) != guard.ports.end();
}

// An address that packets for it are delivered on this host.
bool IsHere(const HostFacts& facts, const Address& address) {
  const bool loopback = address.family == Family::kIpv4 && address.bytes[0] == 127;
  return loopback || facts.local.Contains(address);
}

std::string NameTarget(const std::optional<Address>& address, uint16_t port) {
  return absl::StrCat("port ", port, " of ", address ? address->ToString() : "this host");
}

// The destination ports that a rule asks for; empty when it asks for none, or
// says it otherwise.
std::vector<nft::Range> PortsOf(const nft::ForeignRule& rule) {
  for (const nft::Condition& condition : rule.conditions) {
    if (condition.field == nft::Field::kDestinationPort && !condition.negated &&
        condition.set.empty()) {
      return condition.ranges;
    }
  }
  return {};
}

std::string NameRanges(const std::vector<nft::Range>& ranges) {
  if (ranges.empty()) return "other ports";
  std::vector<std::string> words;
  for (const nft::Range& range : ranges) {
    words.push_back(range.low == range.high ? absl::StrCat(range.low)
                                            : absl::StrCat(range.low, " to ", range.high));
  }
  const bool one = ranges.size() == 1 && ranges[0].low == ranges[0].high;
  return absl::StrCat(one ? "port " : "ports ", JoinWords(words));
}

bool AllGuarded(const Guard& guard, const std::vector<nft::Range>& ranges) {
  return !ranges.empty() && std::all_of(ranges.begin(), ranges.end(), [&](const nft::Range& r) {
    for (uint32_t port = r.low; port <= std::min<uint32_t>(r.high, 0xffff); ++port) {
      if (!IsGuarded(guard, static_cast<uint16_t>(port))) return false;
    }
    return true;
  });
}

bool IsTranslation(const nft::Effect& effect) {
  return effect.kind == EffectKind::kTranslate || effect.kind == EffectKind::kRedirect;
}

// ---- Published ports

void AddPublished(const std::vector<Published>& published, std::vector<Finding>& findings) {
  struct Lead {
    std::set<uint16_t> ports = {};
    const Published* first;
  };
  std::map<const nft::ForeignRule*, Lead> leads;
  for (const Published& one : published) {
    leads.try_emplace(one.place.rule, Lead{.ports = {}, .first = &one})
        .first->second.ports.insert(one.port);
  }
  for (const auto& [rule, lead] : leads) {
    const Published& one = *lead.first;
    const char* engine = ContainerEngine(*one.table, *one.place.chain);
    const std::string target = NameTarget(one.to_address, one.to_port);
    findings.push_back(
        {.severity = Severity::kWarning,
         .name = "published-port",
         .finding =
             absl::StrCat(engine != nullptr ? absl::StrCat(engine, " publishes a container: ") : "",
                          NamePlace(*one.table, one.place), " leads ",
                          one.conditional ? "some packets" : "packets", " for ",
                          NamePorts(lead.ports), " to ", target, "."),
         .consequence = "The gate judges packets before they are translated, so the port stays "
                        "closed without a grant; but a grant opens what is at that target, not "
                        "a service of this host at the port.",
         .remedy = absl::StrCat("Publish it at another port if that is not what grants are meant "
                                "to open; look at it with ",
                                ShowCommand(*one.table, one.place), ".")});
  }
}

// ---- Doors beside the gate

void AddDoor(const HostFacts& facts, const Guard& guard, const nft::ForeignTable& table,
             const EffectAt& at, std::vector<Finding>& findings) {
  const nft::Effect& effect = *at.effect;
  if (!effect.port || !IsGuarded(guard, *effect.port)) return;
  const std::vector<nft::Range> from = PortsOf(*at.place.rule);
  if (AllGuarded(guard, from)) return;
  const bool written = effect.kind == EffectKind::kWritePort;
  const bool here =
      effect.kind != EffectKind::kTranslate || !effect.address || IsHere(facts, *effect.address);
  Finding finding{
      .severity = here ? Severity::kCritical : Severity::kNotice,
      .name = written ? "header-rewrite" : "side-door",
      .finding = absl::StrCat(NamePlace(table, at.place), written ? " rewrites " : " leads ",
                              NameRanges(from), " to ",
                              NameTarget(here ? std::nullopt : effect.address, *effect.port), ".")};
  if (here) {
    finding.consequence = absl::StrCat(
        "The gate judges a packet by the port it was sent to, and that one is not guarded: "
        "whoever uses it reaches what serves port ",
        *effect.port, " without a grant.");
    finding.remedy = absl::StrCat("Remove that rule, or guard ", NameRanges(from),
                                  " too (guard.ports in agent.yaml); look at it with ",
                                  ShowCommand(table, at.place), ".");
  } else {
    finding.consequence = absl::StrCat("Port ", *effect.port,
                                       " is guarded on this host, but not what this rule leads "
                                       "to: the port that it listens to is not guarded.");
    finding.remedy =
        absl::StrCat("Guard ", NameRanges(from),
                     " too (guard.ports in agent.yaml) if it is to open by grants only.");
  }
  findings.push_back(std::move(finding));
}

// Translations and rewriting that come out at a guarded port.
void AddDoors(const HostFacts& facts, const Guard& guard, std::optional<int32_t> gate,
              std::vector<Finding>& findings) {
  std::set<const nft::ForeignRule*> told;
  for (const Family family : kFamilies) {
    for (const HookPoint hook : {HookPoint::kPrerouting, HookPoint::kInput}) {
      ForEachChain(facts.ruleset, family, hook,
                   [&](const nft::ForeignTable& table, const nft::ForeignChain& chain) {
                     const bool nat = chain.hook->type == "nat";
                     // What is rewritten before the gate, the gate sees.
                     const bool after =
                         hook == HookPoint::kInput || chain.hook->priority >= gate.value_or(0);
                     for (const EffectAt& at : Walk(table, chain, AnyConnection(family)).effects) {
                       const bool translates = nat && IsTranslation(*at.effect);
                       const bool rewrites = after && at.effect->kind == EffectKind::kWritePort;
                       if (!translates && !rewrites) continue;
                       if (told.insert(at.place.rule).second)
                         AddDoor(facts, guard, table, at, findings);
                     }
                   });
    }
  }
}

// Rewriting before the gate, which then judges by what was written.
void AddHidden(const HostFacts& facts, const Guard& guard, std::optional<int32_t> gate,
               std::vector<Finding>& findings) {
  struct Hidden {
    const nft::ForeignTable* table;
    Place place = {};
    std::set<uint16_t> ports = {};
  };
  std::map<const nft::ForeignRule*, Hidden> hidden;
  for (const Family family : kFamilies) {
    for (const uint16_t port : guard.ports) {
      for (const uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        const auto look = [&](const nft::ForeignTable& table, const nft::ForeignChain& chain) {
          const bool ingress = HookOf(table, chain) == HookPoint::kIngress;
          if (!ingress && chain.hook->priority >= gate.value_or(0)) return;
          for (const EffectAt& at :
               Walk(table, chain, NewConnection(family, protocol, port)).effects) {
            const bool port_away =
                at.effect->kind == EffectKind::kWritePort && at.effect->port != port;
            if (!port_away && at.effect->kind != EffectKind::kWriteAddress) continue;
            const auto found = hidden.try_emplace(at.place.rule, Hidden{&table, at.place, {}});
            found.first->second.ports.insert(port);
          }
        };
        ForEachChain(facts.ruleset, family, HookPoint::kIngress, look);
        ForEachChain(facts.ruleset, family, HookPoint::kPrerouting, look);
      }
    }
  }
  for (const auto& [rule, one] : hidden) {
    findings.push_back(
        {.severity = Severity::kCritical,
         .name = "header-rewrite",
         .finding = absl::StrCat(NamePlace(*one.table, one.place),
                                 " writes over the destination of packets for ",
                                 NamePorts(one.ports), " before they come to the gate."),
         .consequence = "The gate judges them by what was written: they pass without a grant "
                        "where that is not guarded.",
         .remedy = absl::StrCat("Use destination NAT instead (a chain of type nat), which comes "
                                "after the gate; look at it with ",
                                ShowCommand(*one.table, one.place), ".")});
  }
}

}  // namespace

std::vector<Published> FindPublished(const HostFacts& facts, const Guard& guard) {
  std::vector<Published> published;
  for (const Family family : kFamilies) {
    for (const uint16_t port : guard.ports) {
      ForEachChain(facts.ruleset, family, HookPoint::kPrerouting,
                   [&](const nft::ForeignTable& table, const nft::ForeignChain& chain) {
                     if (chain.hook->type != "nat") return;
                     for (const EffectAt& at :
                          Walk(table, chain, NewConnection(family, IPPROTO_TCP, port)).effects) {
                       if (!IsTranslation(*at.effect)) continue;
                       const uint16_t to_port = at.effect->port.value_or(port);
                       const bool stays =
                           at.effect->kind == EffectKind::kRedirect ||
                           (at.effect->address && IsHere(facts, *at.effect->address));
                       if (stays && to_port == port) continue;
                       published.push_back({.table = &table,
                                            .place = at.place,
                                            .family = family,
                                            .port = port,
                                            .to_address = at.effect->address,
                                            .to_port = to_port,
                                            .conditional = at.conditional});
                     }
                   });
    }
  }
  return published;
}

void AddDetours(const HostFacts& facts, const Guard& guard, const std::vector<Published>& published,
                std::vector<Finding>& findings) {
  const std::optional<int32_t> gate = GatePriority(facts.ruleset);
  AddPublished(published, findings);
  AddDoors(facts, guard, gate, findings);
  if (gate) AddHidden(facts, guard, gate, findings);
}

}  // namespace postern
