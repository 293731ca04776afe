#include "agent/doctor/walk.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace postern {
namespace {

using nft::Condition;
using nft::Decision;
using nft::EffectKind;
using nft::Field;
using nft::ForeignChain;
using nft::ForeignElement;
using nft::ForeignRule;
using nft::ForeignSet;
using nft::ForeignTable;
using nft::Verdict;

enum class Truth : uint8_t { kNo, kMaybe, kYes };

// Of one chain that is jumped to, whoever jumps.
struct Outcome {
  bool may_accept = false;
  // Comes back to the chain it was called from.
  bool may_return = false;
  std::vector<DropAt> drops;
  std::vector<EffectAt> effects;
};

// A packet is in one chain's drops and effects once, however many jumps lead
// there; a table whose jumps multiply them is cut here.
constexpr size_t kMaxPlaces = 4096;

class Walker {
 public:
  Walker(const ForeignTable& table, const Probe& probe) : probe_(probe) {
    for (const ForeignChain& chain : table.chains) chains_.emplace(chain.name, &chain);
    for (const ForeignSet& set : table.sets) sets_.emplace(set.name, &set);
  }

  const Outcome& Run(const ForeignChain& chain) {
    const auto [entry, is_new] = outcomes_.try_emplace(&chain);
    if (!is_new) return entry->second;
    // For a chain that leads back to itself, which the kernel refuses.
    entry->second.may_return = true;
    Outcome outcome;
    bool goes_on = true;
    for (const ForeignRule& rule : chain.rules) {
      const Truth truth = Matches(rule);
      if (truth == Truth::kNo) continue;
      const bool ends = Apply(chain, rule, truth == Truth::kMaybe, outcome);
      if (ends && truth == Truth::kYes) {
        goes_on = false;
        break;
      }
    }
    outcome.may_return = outcome.may_return || goes_on;
    entry->second = std::move(outcome);
    return entry->second;
  }

 private:
  // Does what a rule does to packets that match it; true when none of them goes
  // on to the next rule.
  bool Apply(const ForeignChain& chain, const ForeignRule& rule, bool conditional,
             Outcome& outcome) {
    const Place place{.chain = &chain, .rule = &rule};
    bool translated = false;
    for (const nft::Effect& effect : rule.effects) {
      if (outcome.effects.size() < kMaxPlaces) {
        outcome.effects.push_back({.place = place, .effect = &effect, .conditional = conditional});
      }
      translated = translated || effect.kind == EffectKind::kTranslate ||
                   effect.kind == EffectKind::kRedirect;
    }
    if (translated) {
      outcome.may_accept = true;
      return true;
    }
    if (rule.map.empty()) return Decide(place, rule.decision, conditional, outcome);
    return Map(place, rule, conditional, outcome);
  }

  bool Map(const Place& place, const ForeignRule& rule, bool conditional, Outcome& outcome) {
    const auto found = sets_.find(rule.map);
    if (found == sets_.end() || !found->second->known) {
      outcome.may_accept = true;
      return false;
    }
    const std::optional<uint32_t> value = ValueOf(rule.map_field);
    for (const ForeignElement& element : found->second->elements) {
      if (!value.has_value()) {
        Decide(place, element.decision, /*conditional=*/true, outcome);
      } else if (element.range.low <= *value && *value <= element.range.high) {
        return Decide(place, element.decision, conditional, outcome);
      }
    }
    return false;
  }

  bool Decide(const Place& place, const Decision& decision, bool conditional, Outcome& outcome) {
    switch (decision.verdict) {
      case Verdict::kNone:
        return false;
      case Verdict::kAccept:
        outcome.may_accept = true;
        return true;
      case Verdict::kQueue:
        // Another program decides.
        outcome.may_accept = true;
        conditional = true;
        [[fallthrough]];
      case Verdict::kDrop:
      case Verdict::kReject:
        AddDrop({.place = place, .verdict = decision.verdict, .conditional = conditional}, outcome);
        return true;
      case Verdict::kReturn:
        outcome.may_return = true;
        return true;
      case Verdict::kJump:
        return !Enter(decision.chain, conditional, outcome);
      case Verdict::kGoto:
        outcome.may_return |= Enter(decision.chain, conditional, outcome);
        return true;
    }
    return false;
  }

  // Adds what becomes of packets in another chain; true when some come back.
  bool Enter(const std::string& name, bool conditional, Outcome& outcome) {
    const auto chain = chains_.find(name);
    if (chain == chains_.end()) return true;
    const Outcome& inner = Run(*chain->second);
    outcome.may_accept = outcome.may_accept || inner.may_accept;
    for (DropAt drop : inner.drops) {
      if (outcome.drops.size() == kMaxPlaces) break;
      drop.conditional = drop.conditional || conditional;
      AddDrop(drop, outcome);
    }
    for (EffectAt effect : inner.effects) {
      if (outcome.effects.size() == kMaxPlaces) break;
      effect.conditional = effect.conditional || conditional;
      outcome.effects.push_back(effect);
    }
    return inner.may_return;
  }

  static void AddDrop(const DropAt& drop, Outcome& outcome) {
    if (outcome.drops.size() < kMaxPlaces) outcome.drops.push_back(drop);
  }

  // ---- Conditions

  std::optional<uint32_t> ValueOf(Field field) const {
    switch (field) {
      case Field::kOther:
        return std::nullopt;
      case Field::kFamily:
        return probe_.family;
      case Field::kProtocol:
        return probe_.protocol;
      case Field::kSourcePort:
        return probe_.source_port;
      case Field::kDestinationPort:
        return probe_.destination_port;
      case Field::kConntrackState:
        return probe_.state;
      case Field::kConntrackStatus:
        return probe_.status;
      case Field::kFromLoopback:
        // The gate does not guard loopback.
        return 0;
      case Field::kDestinationType:
        return probe_.destination_type;
    }
    return std::nullopt;
  }

  Truth Matches(const ForeignRule& rule) {
    Truth all = Truth::kYes;
    for (const Condition& condition : rule.conditions) all = std::min(all, Holds(condition));
    return all;
  }

  Truth Holds(const Condition& condition) {
    std::optional<uint32_t> value = ValueOf(condition.field);
    if (!value.has_value()) return Truth::kMaybe;
    *value &= condition.mask;
    const auto within = [value](const nft::Range& range) {
      return range.low <= *value && *value <= range.high;
    };
    bool holds = false;
    if (condition.set.empty()) {
      holds = std::any_of(condition.ranges.begin(), condition.ranges.end(), within);
    } else {
      const auto set = sets_.find(condition.set);
      if (set == sets_.end() || !set->second->known) return Truth::kMaybe;
      // Many rules may look the same value up in the same set.
      const auto [found, is_new] = lookups_.try_emplace({set->second, *value}, false);
      const auto& elements = set->second->elements;
      if (is_new) {
        found->second =
            std::any_of(elements.begin(), elements.end(),
                        [&](const ForeignElement& element) { return within(element.range); });
      }
      holds = found->second;
    }
    return holds != condition.negated ? Truth::kYes : Truth::kNo;
  }

  const Probe& probe_;
  std::map<absl::string_view, const ForeignChain*> chains_;
  std::map<absl::string_view, const ForeignSet*> sets_;
  std::map<const ForeignChain*, Outcome> outcomes_;
  std::map<std::pair<const ForeignSet*, uint32_t>, bool> lookups_;
};

}  // namespace

Fate Walk(const ForeignTable& table, const ForeignChain& base, const Probe& probe) {
  Walker walker(table, probe);
  const Outcome& outcome = walker.Run(base);
  Fate fate{.may_pass = outcome.may_accept, .drops = outcome.drops, .effects = outcome.effects};
  if (outcome.may_return) {
    if (base.drops_by_default) {
      fate.drops.push_back({.place = {.chain = &base, .rule = nullptr}});
    } else {
      fate.may_pass = true;
    }
  }
  return fate;
}

}  // namespace postern
