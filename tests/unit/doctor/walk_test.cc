#include "agent/doctor/walk.h"

#include <gtest/gtest.h>
#include <linux/in.h>

#include <string>
#include <utility>
#include <vector>

namespace postern {
namespace {

using nft::Condition;
using nft::Decision;
using nft::Field;
using nft::ForeignChain;
using nft::ForeignRule;
using nft::ForeignTable;
using nft::Verdict;

Condition PortIs(uint32_t port) {
  return {.field = Field::kDestinationPort, .ranges = {{port, port}}};
}
// Something the doctor cannot judge, such as a source address.
Condition Unknown() { return {}; }

ForeignRule Rule(std::vector<Condition> conditions, Decision decision) {
  return {.conditions = std::move(conditions), .decision = std::move(decision)};
}
Decision To(Verdict verdict, const std::string& chain = "") {
  return {.verdict = verdict, .chain = chain};
}

struct Case {
  const char* name;
  std::vector<ForeignRule> rules;
  // Of the chain "other", which rules jump to.
  std::vector<ForeignRule> other;
  bool drops_by_default;
  // What is expected for a packet to port 22.
  bool may_pass;
  size_t drops;
  bool first_is_conditional;
};

TEST(Walk, TellsWhatBecomesOfAPacket) {
  const Decision accept = To(Verdict::kAccept);
  const Decision drop = To(Verdict::kDrop);
  const Decision jump = To(Verdict::kJump, "other");
  const Decision go_to = To(Verdict::kGoto, "other");
  const Decision back = To(Verdict::kReturn);
  const Case cases[] = {
      {"nothing", {}, {}, false, true, 0, false},
      {"the policy", {}, {}, true, false, 1, false},
      {"an accept before the policy", {Rule({PortIs(22)}, accept)}, {}, true, true, 0, false},
      {"an accept of another port", {Rule({PortIs(80)}, accept)}, {}, true, false, 1, false},
      {"an accept for some", {Rule({PortIs(22), Unknown()}, accept)}, {}, true, true, 1, false},
      {"a drop", {Rule({PortIs(22)}, drop)}, {}, false, false, 1, false},
      {"a drop for some", {Rule({Unknown()}, drop)}, {}, false, true, 1, true},
      {"a drop after an accept", {Rule({}, accept), Rule({}, drop)}, {}, false, true, 0, false},
      {"a jump to a drop", {Rule({}, jump)}, {Rule({PortIs(22)}, drop)}, false, false, 1, false},
      {"a jump for some to a drop",
       {Rule({Unknown()}, jump)},
       {Rule({}, drop)},
       false,
       true,
       1,
       true},
      {"a jump that comes back",
       {Rule({}, jump), Rule({}, drop)},
       {Rule({}, back)},
       false,
       false,
       1,
       false},
      {"a goto that does not", {Rule({}, go_to), Rule({}, drop)}, {}, false, true, 0, false},
      {"a goto to the policy", {Rule({}, go_to)}, {}, true, false, 1, false},
      {"a queue may do either", {Rule({}, To(Verdict::kQueue))}, {}, false, true, 1, true},
      {"a chain that is missing",
       {Rule({}, To(Verdict::kJump, "gone")), Rule({}, drop)},
       {},
       false,
       false,
       1,
       false},
      {"a chain that leads to itself",
       {Rule({}, jump)},
       {Rule({}, jump), Rule({}, drop)},
       false,
       false,
       1,
       false},
  };
  const Probe probe{.protocol = IPPROTO_TCP, .destination_port = 22};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const ForeignTable table{.chains = {{.name = "base",
                                         .hook = nft::ForeignHook{},
                                         .drops_by_default = one.drops_by_default,
                                         .rules = one.rules},
                                        {.name = "other", .rules = one.other}}};
    const Fate fate = Walk(table, table.chains[0], probe);
    EXPECT_EQ(fate.may_pass, one.may_pass);
    ASSERT_EQ(fate.drops.size(), one.drops);
    if (one.drops > 0) {
      EXPECT_EQ(fate.drops[0].conditional, one.first_is_conditional);
    }
  }
}

TEST(Walk, LooksIntoSetsAndMaps) {
  ForeignTable table{
      .chains = {{.name = "base",
                  .hook = nft::ForeignHook{},
                  .rules = {{.map_field = Field::kDestinationPort, .map = "ports"}}}},
      .sets = {{.name = "ports",
                .known = true,
                .elements = {{.range = {20, 25}, .decision = To(Verdict::kDrop)},
                             {.range = {}, .decision = To(Verdict::kAccept)}}}}};
  const auto passes = [&table](std::optional<uint32_t> port) {
    const Probe probe{.destination_port = port};
    const Fate fate = Walk(table, table.chains[0], probe);
    return std::pair(fate.may_pass, fate.drops.size());
  };
  EXPECT_EQ(passes(22), std::pair(false, size_t{1}));
  EXPECT_EQ(passes(80), std::pair(true, size_t{0}));
  EXPECT_EQ(passes(std::nullopt), std::pair(true, size_t{1}));
  // A set that was not read may hold anything.
  table.sets[0].known = false;
  EXPECT_EQ(passes(22), std::pair(true, size_t{0}));
  table.chains[0].rules = {
      Rule({{.field = Field::kDestinationPort, .set = "ports"}}, To(Verdict::kDrop))};
  EXPECT_EQ(passes(22), std::pair(true, size_t{1}));
  table.sets[0].known = true;
  EXPECT_EQ(passes(22), std::pair(false, size_t{1}));
  table.chains[0].rules[0].conditions[0].negated = true;
  EXPECT_EQ(passes(22), std::pair(true, size_t{0}));
}

TEST(Walk, StatesAreMasked) {
  const Condition established{
      .field = Field::kConntrackState, .mask = 6, .negated = true, .ranges = {{0, 0}}};
  const ForeignTable table{.chains = {{.name = "base",
                                       .hook = nft::ForeignHook{},
                                       .drops_by_default = true,
                                       .rules = {Rule({established}, To(Verdict::kAccept))}}}};
  EXPECT_FALSE(Walk(table, table.chains[0], {.state = 8}).may_pass);
  EXPECT_TRUE(Walk(table, table.chains[0], {.state = 2}).may_pass);
}

}  // namespace
}  // namespace postern
