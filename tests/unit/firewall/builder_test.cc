#include "agent/firewall/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

GateOptions Options() {
  return {.enforce = true,
          .ports = {22, 3389},
          .trusted_interfaces = {},
          .always_allow = {P("198.51.100.0/24"), P("2001:db8::/32")},
          .own_port = OwnPort{.port = 7443, .from = {P("192.0.2.0/24")}}};
}

SetId Keep(int length, Family family = Family::kIpv4) {
  return {.family = family,
          .prefix_length = static_cast<uint8_t>(length),
          .admission = Admission::kKeep};
}

template <typename Kind>
std::vector<Kind> All(const Transaction& transaction) {
  std::vector<Kind> all;
  for (const Operation& operation : transaction) {
    if (const auto* one = std::get_if<Kind>(&operation)) all.push_back(*one);
  }
  return all;
}

std::vector<Rule> RulesOf(const Transaction& transaction, absl::string_view chain) {
  std::vector<Rule> rules;
  for (const AddRule& add : All<AddRule>(transaction)) {
    if (add.rule.chain == chain) rules.push_back(add.rule);
  }
  return rules;
}

bool Names(const Rule& rule, const std::string& set) {
  return std::any_of(rule.expressions.begin(), rule.expressions.end(), [&](const auto& each) {
    const auto* lookup = std::get_if<Lookup>(&each);
    return lookup != nullptr && lookup->set == set;
  });
}

TEST(BuilderTest, ObserveHasNoDropAtAll) {
  GateOptions options = Options();
  options.enforce = false;
  for (const AddRule& add : All<AddRule>(BuildTable(options, {Keep(32)}, {}))) {
    EXPECT_THAT(add.rule.expressions, Not(Contains(Expression(Drop{})))) << add.rule.chain;
  }
}

TEST(BuilderTest, EveryDropIsCounted) {
  for (const AddRule& add : All<AddRule>(BuildTable(Options(), {Keep(32)}, {}))) {
    const auto& expressions = add.rule.expressions;
    const auto drop = std::find(expressions.begin(), expressions.end(), Expression(Drop{}));
    if (drop == expressions.end()) continue;
    ASSERT_NE(drop, expressions.begin());
    EXPECT_EQ(*(drop - 1), Expression(Count{kDroppedCounter})) << add.rule.chain;
  }
}

TEST(BuilderTest, AGateThatIsNotForGoodLetsAllPassWithoutItsElements) {
  GateOptions options = Options();
  options.enforce_until = BootTime(absl::Seconds(5000));
  const Transaction table = BuildTable(options, {Keep(32)}, {});
  const std::vector<AddTimedSet> armed = All<AddTimedSet>(table);
  ASSERT_EQ(armed.size(), 1U);
  EXPECT_EQ(armed[0].end, options.enforce_until);
  EXPECT_EQ(armed[0].elements.size(), 2U);
  for (const AddChain& add : All<AddChain>(table)) {
    if (!add.base) continue;
    const std::vector<Rule> rules = RulesOf(table, add.name);
    ASSERT_FALSE(rules.empty());
    EXPECT_TRUE(Names(rules.front(), kArmedSet)) << add.name;
    EXPECT_EQ(rules.front().expressions.back(), Expression(Accept{})) << add.name;
  }
}

TEST(BuilderTest, AGateForGoodAsksForNothing) {
  const Transaction table = BuildTable(Options(), {Keep(32)}, {});
  EXPECT_THAT(All<AddTimedSet>(table), IsEmpty());
  for (const AddRule& add : All<AddRule>(table)) EXPECT_FALSE(Names(add.rule, kArmedSet));
}

TEST(BuilderTest, JumpsLeadToChainsAndLookupsToSets) {
  GateOptions options = Options();
  options.enforce_until = BootTime(absl::Seconds(5000));
  const Transaction table = BuildTable(options, {Keep(32), Keep(64, Family::kIpv6)}, {});
  std::vector<std::string> chains;
  for (const AddChain& add : All<AddChain>(table)) chains.push_back(add.name);
  std::vector<std::string> sets;
  for (const AddSet& add : All<AddSet>(table)) sets.push_back(add.id.Name());
  for (const AddConstantSet& add : All<AddConstantSet>(table)) sets.push_back(add.name);
  for (const AddTimedSet& add : All<AddTimedSet>(table)) sets.push_back(add.name);
  for (const AddDeniedSet& add : All<AddDeniedSet>(table)) {
    sets.push_back(DeniedSetName(add.family, add.enforce));
  }
  for (const AddRule& add : All<AddRule>(table)) {
    EXPECT_THAT(chains, Contains(add.rule.chain));
    for (const Expression& expression : add.rule.expressions) {
      if (const auto* to = std::get_if<Goto>(&expression)) {
        EXPECT_THAT(chains, Contains(to->chain));
      }
      if (const auto* in = std::get_if<Lookup>(&expression)) {
        EXPECT_THAT(sets, Contains(in->set));
      }
      if (const auto* into = std::get_if<UpdateSet>(&expression)) {
        EXPECT_THAT(sets, Contains(into->set));
      }
    }
  }
}

// A rule ends where a set takes no more, or a limit is reached.
TEST(BuilderTest, NothingThatMayEndARuleStandsBeforeADrop) {
  for (const AddRule& add : All<AddRule>(BuildTable(Options(), {Keep(32)}, {}))) {
    const auto& expressions = add.rule.expressions;
    const bool closes = std::any_of(expressions.begin(), expressions.end(), [](const auto& each) {
      return std::holds_alternative<Drop>(each) || std::holds_alternative<Goto>(each);
    });
    const bool may_end = std::any_of(expressions.begin(), expressions.end(), [](const auto& each) {
      return std::holds_alternative<UpdateSet>(each) || std::holds_alternative<Limit>(each) ||
             std::holds_alternative<SendToLog>(each);
    });
    EXPECT_FALSE(closes && may_end) << add.rule.chain;
  }
}

TEST(BuilderTest, EveryWayOfARefusedPacketEndsInADrop) {
  const Transaction table = BuildTable(Options(), {Keep(32)}, {});
  for (const char* family : {"4", "6"}) {
    for (const char* chain : {"refuse", "newcomer"}) {
      const std::vector<Rule> rules = RulesOf(table, absl::StrCat(chain, family));
      ASSERT_FALSE(rules.empty());
      EXPECT_EQ(rules.back().expressions,
                (std::vector<Expression>{Count{kDroppedCounter}, Drop{}}));
    }
    const std::vector<Rule> admit = RulesOf(table, absl::StrCat("admit", family));
    ASSERT_FALSE(admit.empty());
    EXPECT_EQ(admit.back().expressions,
              (std::vector<Expression>{Goto{absl::StrCat("refuse", family)}}));
  }
}

TEST(BuilderTest, RefusedSourcesBeginInTheSetOfTheirFamilyAndMode) {
  GateOptions options = Options();
  const InstalledElement four = {Key("203.0.113.7", 22), absl::Minutes(5), {.packets = 2}};
  const InstalledElement six = {Key("2001:db8:9::7", 22), absl::Minutes(5), {.packets = 3}};
  for (const bool enforce : {true, false}) {
    options.enforce = enforce;
    EXPECT_THAT(All<AddDeniedSet>(BuildTable(options, {}, {}, {six, four})),
                UnorderedElementsAre(AddDeniedSet{Family::kIpv4, enforce, {four}},
                                     AddDeniedSet{Family::kIpv6, enforce, {six}}));
  }
}

TEST(BuilderTest, AGrantedSetIsLookedUpByAllThatJudge) {
  const Transaction table = BuildTable(Options(), {Keep(24)}, {});
  for (const char* chain : {"syn", "admit4", "recheck4"}) {
    const std::vector<Rule> rules = RulesOf(table, chain);
    EXPECT_TRUE(std::any_of(rules.begin(), rules.end(), [](const Rule& rule) {
      return Names(rule, "keep4_24");
    })) << chain;
  }
}

TEST(BuilderTest, TheEarlyRefusalIsLeftOutWhereItsRuleWouldNotFit) {
  std::set<SetId> sets;
  for (int length = 1; length <= 32; ++length) sets.insert(Keep(length));
  const std::vector<Rule> early = RulesOf(BuildTable(Options(), sets, {}), "syn");
  EXPECT_FALSE(std::any_of(early.begin(), early.end(),
                           [](const Rule& rule) { return Names(rule, "keep4_32"); }));
  // IPv6 keeps its own, besides the rule for trusted interfaces.
  EXPECT_EQ(early.size(), 2U);
}

TEST(BuilderTest, LoopbackIsTrustedWhateverTheOptionsSay) {
  GateOptions options = Options();
  options.trusted_interfaces = {"wg0"};
  Bytes loopback(16, 0);
  loopback[0] = 'l';
  loopback[1] = 'o';
  for (const AddConstantSet& set : All<AddConstantSet>(BuildTable(options, {}, {}))) {
    if (set.name == "trusted") {
      EXPECT_THAT(set.elements, Contains(loopback));
      EXPECT_EQ(set.elements.size(), 2U);
    }
  }
}

TEST(BuilderTest, OlderConnectionsStandInTheSetOfTheirFamily) {
  const Flow flow = {
      .remote = A("203.0.113.7"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  for (const AddConstantSet& set : All<AddConstantSet>(BuildTable(Options(), {}, {flow}))) {
    if (set.name == kOlderIpv4Set) {
      EXPECT_THAT(set.elements, Contains(FlowKey(flow)));
    }
    if (set.name == kOlderIpv6Set) {
      EXPECT_THAT(set.elements, IsEmpty());
    }
  }
}

TEST(ChangeSetsTest, NewSetsComeBeforeTheRulesAndOldOnesGoAfterThem) {
  const SetChange change = ChangeSets(Options(), {Keep(32)}, {Keep(24)});
  ASSERT_EQ(change.before_elements.size(), 1U);
  EXPECT_EQ(change.before_elements[0], Operation(AddSet{Keep(24)}));
  ASSERT_FALSE(change.after_elements.empty());
  EXPECT_EQ(change.after_elements.back(), Operation(DeleteSet{Keep(32)}));
  for (const AddRule& add : All<AddRule>(change.after_elements)) {
    EXPECT_FALSE(Names(add.rule, "keep4_32")) << add.rule.chain;
  }
}

TEST(ChangeSetsTest, NothingChangesWhereTheSetsAreTheSame) {
  const SetChange change = ChangeSets(Options(), {Keep(32)}, {Keep(32)});
  EXPECT_THAT(change.before_elements, IsEmpty());
  EXPECT_THAT(change.after_elements, IsEmpty());
}

TEST(RulesetTest, KeysAreAsTheKernelHoldsThem) {
  EXPECT_EQ(ElementKey(Key("203.0.113.0/24", 22)),
            (Bytes{203, 0, 113, 0, 6, 0, 0, 0, 0, 22, 0, 0}));
  EXPECT_EQ(ElementKey(Key("2001:db8::/32", 3389, Protocol::kUdp)).size(), 24U);
  EXPECT_EQ(SetOf(Key("2001:db8::/32", 22), Admission::kCut).Name(), "cut6_32");
}

TEST(RulesetTest, TheCutLabelIsOneBit) {
  int bits = 0;
  for (const uint8_t byte : CutLabel()) bits += __builtin_popcount(byte);
  EXPECT_EQ(bits, 1);
  EXPECT_EQ(CutLabel().size(), 16U);
}

}  // namespace
}  // namespace postern
