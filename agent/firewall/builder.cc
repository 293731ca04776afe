#include "agent/firewall/builder.h"

#include <linux/if.h>
#include <linux/in.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/firewall/matches.h"

namespace postern {
namespace {

// Never guarded, whatever the options say.
constexpr char kLoopback[] = "lo";

// Base chains.
constexpr char kSynChain[] = "syn";
constexpr char kGateChain[] = "gate";
constexpr char kReplyChain[] = "reply";
// Chains jumped to; those that end in 4 or 6 see one family only, and match it all
// the same, so that nft(8) can print their rules by name.
constexpr char kAdmitChain[] = "admit";
constexpr char kRecheckChain[] = "recheck";
constexpr char kOwnPortChain[] = "own_port";
constexpr char kRefuseChain[] = "refuse";
constexpr char kNewcomerChain[] = "newcomer";
// Jumped to by nothing.
constexpr char kLabelsChain[] = "labels";

// Between raw and connection tracking (-300 and -200, netfilter_ipv4.h), after
// defragmentation (-400).
constexpr int kSynPriority = -280;
// After connection tracking (-200), before other mangling (-150) and before
// destination NAT (-100): published ports of containers are still this host's.
constexpr int kGatePriority = -160;
constexpr int kReplyPriority = -160;

// How many sources one rule may name. The kernel takes rules whose expressions
// are smaller than 4 KiB together (dlen in struct nft_rule, nf_tables.h): about
// 136 bytes for an IPv6 source, where 20 leave room for other kernels' sizes.
constexpr size_t kMaxSourcesInRule = 20;

// How many sources begin to be remembered: within an hour and a burst fewer than
// a set holds, so that a flood from invented sources neither fills it nor costs
// more than a look at the limit.
constexpr Limit kNewcomers = {.packets = 2, .period = absl::Seconds(1), .burst = 200};
// Of how many the log hears.
constexpr Limit kLogged = {.packets = 12, .period = absl::Minutes(1), .burst = 12};

// nft's data types (enum datatypes in its datatype.h), 6 bits each in a
// concatenation.
constexpr uint32_t kTypeNfProtocol = 2;
constexpr uint32_t kTypeIpv4 = 7;
constexpr uint32_t kTypeIpv6 = 8;
constexpr uint32_t kTypeProtocol = 12;
constexpr uint32_t kTypePort = 13;
constexpr uint32_t kTypeInterface = 41;

// ---- Chains ----

// What closes the gate: in observe mode the packet is counted and goes on.
Expressions Refuse(const GateOptions& options) {
  if (!options.enforce) return {Count{kDroppedCounter}, Accept{}};
  return {Count{kDroppedCounter}, Drop{}};
}

// Refuses, and remembers who it was.
Expression RefuseSource(const FamilyView& view) {
  return Goto{absl::StrCat(kRefuseChain, view.suffix)};
}

// The packet's source, protocol and port, as a key of the sets of refused sources.
Expressions LoadDeniedKey(const FamilyView& view) {
  Expressions key = {LoadSource(view, ReadFrom::kPacket)};
  Append(key, LoadProtocolAndPort(view, ReadFrom::kPacket));
  return key;
}

void AddRuleTo(std::vector<Rule>& rules, std::string chain, Expressions expressions) {
  rules.push_back(Rule{.chain = std::move(chain), .expressions = std::move(expressions)});
}

// In front of all else: without the elements of its set, the table drops nothing.
// That is what is left of a gate that nobody confirmed, and whoever takes them away
// by hand could as well delete the table.
void BuildUnlessArmed(const GateOptions& options, std::vector<Rule>& rules) {
  if (!options.enforce || !options.enforce_until) return;
  for (const char* chain : {kSynChain, kGateChain, kReplyChain}) {
    AddRuleTo(rules, chain,
              {LoadMeta{MetaKey::kNfProtocol}, Lookup{.set = kArmedSet, .absent = true}, Accept{}});
  }
}

// Drops a flood of connection attempts before it costs connection tracking. Its
// absent lookups leave the elements' counters to the gate. A packet that is not
// dropped here is judged by the gate, so that leaving the rule out is safe where
// too many prefix lengths are in use for one rule.
void BuildSyn(const GateOptions& options, const std::set<SetId>& sets, std::vector<Rule>& rules) {
  if (!options.enforce) return;
  AddRuleTo(rules, kSynChain, Concat({ThroughTrusted(MetaKey::kInputInterface), {Accept{}}}));
  for (const FamilyView& view : kViews) {
    Expressions rule =
        Concat({IsFamily(view), IsTcp(), TcpFlags(kTcpFin | kTcpSyn | kTcpRst | kTcpAck, kTcpSyn),
                IsGuarded(kDestinationPort), IsThisHosts(FibAddress::kDestination)});
    size_t sources = 0;
    for (const Prefix& prefix : options.always_allow) {
      if (prefix.family() != view.family) continue;
      Append(rule, CompareSource(view, ReadFrom::kPacket, prefix, /*equal=*/false));
      ++sources;
    }
    Append(rule, LoadProtocolAndPort(view, ReadFrom::kPacket));
    for (const SetId& set : sets) {
      if (set.family != view.family) continue;
      Append(rule, LookupSource(view, ReadFrom::kPacket, set, /*absent=*/true));
      ++sources;
    }
    rule.push_back(RefuseSource(view));
    if (sources <= kMaxSourcesInRule) AddRuleTo(rules, kSynChain, std::move(rule));
  }
}

// The gate proper: what comes in.
void BuildGate(const GateOptions& options, std::vector<Rule>& rules) {
  AddRuleTo(rules, kGateChain, Concat({ThroughTrusted(MetaKey::kInputInterface), {Accept{}}}));
  // Answers to what this host (or one behind it) asked for. Answers within a cut
  // connection meet the reply chain on their way out.
  AddRuleTo(rules, kGateChain, Concat({IsReply(), {Accept{}}}));
  if (options.own_port) {
    AddRuleTo(rules, kGateChain,
              Concat({IsTcp(),
                      {LoadPayload{PayloadBase::kTransport, kDestinationPort, 2},
                       Compare{.value = NetworkPort(options.own_port->port)}},
                      IsThisHosts(FibAddress::kDestination),
                      {Goto{kOwnPortChain}}}));
  }
  for (const FamilyView& view : kViews) {
    AddRuleTo(
        rules, kGateChain,
        Concat({IsFamily(view), HasCutLabel(), {Goto{absl::StrCat(kRecheckChain, view.suffix)}}}));
  }
  for (const FamilyView& view : kViews) {
    AddRuleTo(rules, kGateChain,
              Concat({IsFamily(view),
                      IsGuarded(kDestinationPort),
                      IsThisHosts(FibAddress::kDestination),
                      {Goto{absl::StrCat(kAdmitChain, view.suffix)}}}));
  }
}

void BuildOwnPort(const GateOptions& options, std::vector<Rule>& rules) {
  if (!options.own_port) return;
  for (const Prefix& prefix : options.own_port->from) {
    const FamilyView& view = prefix.family() == Family::kIpv4 ? kIpv4View : kIpv6View;
    AddRuleTo(
        rules, kOwnPortChain,
        Concat({IsFamily(view), CompareSource(view, ReadFrom::kPacket, prefix, true), {Accept{}}}));
  }
  for (const FamilyView& view : kViews) {
    AddRuleTo(rules, kOwnPortChain, Concat({IsFamily(view), {RefuseSource(view)}}));
  }
}

// A packet for a guarded port of this host, in the direction that opened its
// connection; connections that are cut have been dealt with.
void BuildAdmit(const FamilyView& view, const GateOptions& options, const std::set<SetId>& sets,
                std::vector<Rule>& rules) {
  const std::string chain = absl::StrCat(kAdmitChain, view.suffix);
  AddRuleTo(rules, chain, Concat({HasState(kStateEstablished), {Accept{}}}));
  for (const Prefix& prefix : options.always_allow) {
    if (prefix.family() != view.family) continue;
    AddRuleTo(
        rules, chain,
        Concat({IsFamily(view), CompareSource(view, ReadFrom::kPacket, prefix, true), {Accept{}}}));
  }
  // Keep sets come first: a connection that both kinds admit may live on.
  for (const Admission admission : {Admission::kKeep, Admission::kCut}) {
    for (const SetId& set : sets) {
      if (set.family != view.family || set.admission != admission) continue;
      Expressions rule = Concat({IsFamily(view), LoadProtocolAndPort(view, ReadFrom::kPacket),
                                 LookupSource(view, ReadFrom::kPacket, set, false)});
      if (admission == Admission::kCut) rule.push_back(SetCutLabel{});
      rule.push_back(Accept{});
      AddRuleTo(rules, chain, std::move(rule));
    }
  }
  AddRuleTo(rules, chain,
            Concat({IsFamily(view),
                    IsTcp(),
                    TcpFlags(kTcpSyn, 0),
                    LookupOlder(view, true, false),
                    {Accept{}}}));
  AddRuleTo(rules, chain, {RefuseSource(view)});
}

// The end of a packet that nothing admits. Whoever knocks for the first time goes
// through the limit; a rule ends where the set takes no more, and what closes the
// gate is therefore a rule of its own.
void BuildRefuse(const FamilyView& view, const GateOptions& options, std::vector<Rule>& rules) {
  const std::string refuse = absl::StrCat(kRefuseChain, view.suffix);
  const std::string newcomer = absl::StrCat(kNewcomerChain, view.suffix);
  const std::string set = DeniedSetName(view.family, options.enforce);
  AddRuleTo(rules, refuse,
            Concat({IsFamily(view),
                    LoadDeniedKey(view),
                    {Lookup{.set = set, .absent = true}, Goto{newcomer}}}));
  AddRuleTo(rules, refuse, Concat({IsFamily(view), LoadDeniedKey(view), {UpdateSet{.set = set}}}));
  AddRuleTo(rules, refuse, Refuse(options));
  AddRuleTo(rules, newcomer,
            Concat({{kNewcomers},
                    IsFamily(view),
                    LoadDeniedKey(view),
                    {UpdateSet{.set = set}, kLogged, SendToLog{kDeniedLogGroup}}}));
  AddRuleTo(rules, newcomer, Refuse(options));
}

// A packet, in either direction, of a connection that only lives while a grant
// covers who opened it.
void BuildRecheck(const FamilyView& view, const GateOptions& options, const std::set<SetId>& sets,
                  std::vector<Rule>& rules) {
  const std::string chain = absl::StrCat(kRecheckChain, view.suffix);
  for (const Prefix& prefix : options.always_allow) {
    if (prefix.family() != view.family) continue;
    AddRuleTo(rules, chain,
              Concat({CompareSource(view, ReadFrom::kOriginalTuple, prefix, true), {Accept{}}}));
  }
  for (const SetId& set : sets) {
    if (set.family != view.family) continue;
    AddRuleTo(rules, chain,
              Concat({LoadProtocolAndPort(view, ReadFrom::kOriginalTuple),
                      LookupSource(view, ReadFrom::kOriginalTuple, set, false),
                      {Accept{}}}));
  }
  AddRuleTo(rules, chain, Refuse(options));
}

// Connection tracking makes room for a label only while some rule sets one, and
// a connection that has no room can never be marked. This rule stands also when
// no cut grant is live.
void BuildLabels(std::vector<Rule>& rules) { AddRuleTo(rules, kLabelsChain, {SetCutLabel{}}); }

// What goes out.
void BuildReply(const GateOptions& options, std::vector<Rule>& rules) {
  if (!options.enforce) return;
  AddRuleTo(rules, kReplyChain, Concat({ThroughTrusted(MetaKey::kOutputInterface), {Accept{}}}));
  // The reset by which a client learns that its session was ended.
  AddRuleTo(rules, kReplyChain, Concat({IsTcp(), TcpFlags(kTcpRst, kTcpRst), {Accept{}}}));
  for (const FamilyView& view : kViews) {
    AddRuleTo(rules, kReplyChain,
              Concat({IsFamily(view),
                      IsReply(),
                      HasCutLabel(),
                      {Goto{absl::StrCat(kRecheckChain, view.suffix)}}}));
  }
  // A server's packet in the middle of a connection that conntrack has lost
  // would enter it again as one that this host opened, and the client's packets
  // would pass as its answers. The client's own next packet enters it rightly,
  // if a grant still admits it.
  for (const FamilyView& view : kViews) {
    AddRuleTo(rules, kReplyChain,
              Concat({IsFamily(view), IsTcp(), TcpFlags(kTcpSyn, 0), IsGuarded(kSourcePort),
                      HasState(kStateNew), IsThisHosts(FibAddress::kSource),
                      LookupOlder(view, false, true), Refuse(options)}));
  }
}

std::vector<Rule> BuildRules(const GateOptions& options, const std::set<SetId>& sets) {
  std::vector<Rule> rules;
  BuildUnlessArmed(options, rules);
  BuildSyn(options, sets, rules);
  BuildGate(options, rules);
  BuildOwnPort(options, rules);
  for (const FamilyView& view : kViews) {
    BuildAdmit(view, options, sets, rules);
    BuildRecheck(view, options, sets, rules);
    BuildRefuse(view, options, rules);
  }
  BuildReply(options, rules);
  BuildLabels(rules);
  return rules;
}

// ---- Table ----

struct Chain {
  std::string name;
  std::optional<BaseHook> base;
};

// Every chain there can be, so that flushing and adding never depend on the
// options.
std::vector<Chain> Chains() {
  std::vector<Chain> chains = {{kOwnPortChain, std::nullopt}, {kLabelsChain, std::nullopt}};
  for (const FamilyView& view : kViews) {
    chains.push_back({absl::StrCat(kAdmitChain, view.suffix), std::nullopt});
    chains.push_back({absl::StrCat(kRecheckChain, view.suffix), std::nullopt});
    chains.push_back({absl::StrCat(kRefuseChain, view.suffix), std::nullopt});
    chains.push_back({absl::StrCat(kNewcomerChain, view.suffix), std::nullopt});
  }
  chains.push_back({kSynChain, BaseHook{Hook::kPrerouting, kSynPriority}});
  chains.push_back({kGateChain, BaseHook{Hook::kPrerouting, kGatePriority}});
  chains.push_back({kReplyChain, BaseHook{Hook::kPostrouting, kReplyPriority}});
  return chains;
}

AddConstantSet TrustedSet(const GateOptions& options) {
  AddConstantSet set{
      .name = kTrustedSet, .key_length = IFNAMSIZ, .key_type = kTypeInterface, .elements = {}};
  std::set<std::string> names(options.trusted_interfaces.begin(), options.trusted_interfaces.end());
  names.insert(kLoopback);
  for (const std::string& name : names) {
    Bytes key(IFNAMSIZ, 0);
    std::copy_n(name.begin(), std::min<size_t>(name.size(), IFNAMSIZ - 1), key.begin());
    set.elements.push_back(std::move(key));
  }
  return set;
}

AddConstantSet GuardedSet(const GateOptions& options) {
  AddConstantSet set{.name = kGuardedSet,
                     .key_length = 8,
                     .key_type = kTypeProtocol << 6 | kTypePort,
                     .elements = {}};
  for (const uint16_t port : options.ports) {
    for (const uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
      const Bytes number = NetworkPort(port);
      set.elements.push_back({protocol, 0, 0, 0, number[0], number[1], 0, 0});
    }
  }
  return set;
}

AddConstantSet OlderSet(const FamilyView& view, const std::vector<Flow>& older) {
  const uint32_t address = view.family == Family::kIpv4 ? kTypeIpv4 : kTypeIpv6;
  AddConstantSet set{
      .name = view.older_set,
      .key_length = 2 * view.address_length + 8,
      .key_type = address << 18 | kTypePort << 12 | address << 6 | kTypePort,
      .elements = {},
  };
  for (const Flow& flow : older) {
    if (flow.remote.family == view.family) set.elements.push_back(FlowKey(flow));
  }
  return set;
}

AddTimedSet ArmedSet(BootTime until) {
  AddTimedSet set{.name = kArmedSet,
                  .key_length = 1,
                  .key_type = kTypeNfProtocol,
                  .elements = {},
                  .end = until};
  for (const FamilyView& view : kViews) set.elements.push_back({view.netfilter_protocol});
  return set;
}

AddDeniedSet DeniedSet(const FamilyView& view, const GateOptions& options,
                       const std::vector<InstalledElement>& denied) {
  AddDeniedSet set{.family = view.family, .enforce = options.enforce, .elements = {}};
  std::copy_if(
      denied.begin(), denied.end(), std::back_inserter(set.elements),
      [&](const InstalledElement& element) { return element.key.source.family() == view.family; });
  return set;
}

}  // namespace

Transaction BuildTable(const GateOptions& options, const std::set<SetId>& sets,
                       const std::vector<Flow>& older,
                       const std::vector<InstalledElement>& denied) {
  Transaction transaction = {ReplaceTable{}, AddCounter{kDroppedCounter}, TrustedSet(options),
                             GuardedSet(options)};
  for (const FamilyView& view : kViews) {
    transaction.emplace_back(OlderSet(view, older));
    transaction.emplace_back(DeniedSet(view, options, denied));
  }
  if (options.enforce && options.enforce_until) {
    transaction.emplace_back(ArmedSet(*options.enforce_until));
  }
  for (const SetId& set : sets) transaction.emplace_back(AddSet{set});
  for (const Chain& chain : Chains()) transaction.emplace_back(AddChain{chain.name, chain.base});
  for (Rule& rule : BuildRules(options, sets)) transaction.emplace_back(AddRule{std::move(rule)});
  return transaction;
}

SetChange ChangeSets(const GateOptions& options, const std::set<SetId>& from,
                     const std::set<SetId>& to) {
  SetChange change;
  if (from == to) return change;
  for (const SetId& set : to) {
    if (!from.contains(set)) change.before_elements.emplace_back(AddSet{set});
  }
  for (const Chain& chain : Chains()) change.after_elements.emplace_back(FlushChain{chain.name});
  for (Rule& rule : BuildRules(options, to)) {
    change.after_elements.emplace_back(AddRule{std::move(rule)});
  }
  for (const SetId& set : from) {
    if (!to.contains(set)) change.after_elements.emplace_back(DeleteSet{set});
  }
  return change;
}

}  // namespace postern
