#include "agent/doctor/diagnose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace postern {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::SizeIs;

Address A(const char* text) { return *Address::Parse(text); }

nft::ForeignChain Base(const std::string& name, uint32_t hook, int32_t priority) {
  return {.name = name, .hook = nft::ForeignHook{hook, priority, "filter"}};
}

// A host where all is well: the gate stands, and ssh serves everybody.
HostFacts WellHost() {
  HostFacts facts;
  facts.ruleset.tables = {{.family = NFPROTO_INET,
                           .name = "postern",
                           .chains = {Base("syn", NF_INET_PRE_ROUTING, -280),
                                      Base("gate", NF_INET_PRE_ROUTING, -160)}}};
  facts.listeners = {{.address = A("::"), .port = 22}};
  facts.tracked = 10;
  facts.tracked_at_most = 65536;
  facts.tracks_midstream = true;
  return facts;
}

nft::ForeignTable Dropping(const std::string& name, const std::string& chain) {
  nft::ForeignTable table{.family = NFPROTO_INET, .name = name};
  table.chains = {Base(chain, NF_INET_LOCAL_IN, 0)};
  table.chains[0].drops_by_default = true;
  return table;
}

struct Case {
  const char* what;
  std::function<void(HostFacts&, Guard&)> change;
  std::vector<std::pair<Severity, const char*>> findings;
};

TEST(Diagnose, EachSituationHasItsFinding) {
  const Case cases[] = {
      {"nothing", [](HostFacts&, Guard&) {}, {}},
      {"no table",
       [](HostFacts& f, Guard&) { f.ruleset.tables.clear(); },
       {{Severity::kCritical, "gate-missing"}}},
      {"no table while observing",
       [](HostFacts& f, Guard& g) {
         f.ruleset.tables.clear();
         g.enforce = false;
       },
       {{Severity::kWarning, "gate-missing"}, {Severity::kNotice, "observe-mode"}}},
      {"half a table",
       [](HostFacts& f, Guard&) { f.ruleset.tables[0].chains.pop_back(); },
       {{Severity::kCritical, "gate-missing"}}},
      {"a table that is asleep",
       [](HostFacts& f, Guard&) { f.ruleset.tables[0].dormant = true; },
       {{Severity::kCritical, "gate-missing"}}},
      {"a table that nobody could read",
       [](HostFacts& f, Guard&) {
         f.ruleset.tables.clear();
         f.unread = {"read the tables: not permitted"};
       },
       {{Severity::kWarning, "not-examined"}}},
      {"more than is read",
       [](HostFacts& f, Guard&) { f.ruleset.cut_short = true; },
       {{Severity::kWarning, "not-examined"}}},
      {"another table's drop",
       [](HostFacts& f, Guard&) { f.ruleset.tables.push_back(Dropping("other", "input")); },
       {{Severity::kCritical, "foreign-drop"}}},
      {"a table of another kind",
       [](HostFacts& f, Guard&) {
         f.ruleset.tables.push_back(Dropping("other", "input"));
         f.ruleset.tables[1].family = NFPROTO_BRIDGE;
       },
       {}},
      {"a drop of IPv6 where there is none",
       [](HostFacts& f, Guard&) {
         f.ruleset.tables.push_back(Dropping("other", "input"));
         f.ruleset.tables[1].family = NFPROTO_IPV6;
         f.ipv6_enabled = false;
       },
       {{Severity::kNotice, "ipv6-disabled"}}},
      {"sockets that cannot be destroyed",
       [](HostFacts& f, Guard&) { f.destroys_sockets = false; },
       {{Severity::kNotice, "sockets-stay"}}},
      {"flows around the hooks",
       [](HostFacts& f, Guard&) {
         nft::ForeignTable table{.family = NFPROTO_INET, .name = "fast"};
         table.chains = {Base("forward", NF_INET_FORWARD, 0)};
         table.chains[0].rules = {
             {.handle = 7, .effects = {{.kind = nft::EffectKind::kOffload, .object = "ft"}}}};
         f.ruleset.tables.push_back(table);
       },
       {{Severity::kNotice, "flowtable"}}},
      {"loopback only",
       [](HostFacts& f, Guard&) { f.listeners[0].address = A("::1"); },
       {{Severity::kWarning, "loopback-listener"}}},
      {"loopback beside an address",
       [](HostFacts& f, Guard&) { f.listeners.push_back({.address = A("127.0.0.1"), .port = 22}); },
       {}},
      {"nobody there",
       [](HostFacts& f, Guard&) { f.listeners.clear(); },
       {{Severity::kNotice, "no-listener"}}},
      {"tracking nearly full",
       [](HostFacts& f, Guard&) { f.tracked = 60000; },
       {{Severity::kWarning, "conntrack-full"}}},
      {"tracking full",
       [](HostFacts& f, Guard&) { f.tracked = 65536; },
       {{Severity::kCritical, "conntrack-full"}}},
      {"tracking small",
       [](HostFacts& f, Guard&) { f.tracked_at_most = 1024; },
       {{Severity::kWarning, "conntrack-small"}}},
      {"tracking strict",
       [](HostFacts& f, Guard&) { f.tracks_midstream = false; },
       {{Severity::kNotice, "conntrack-strict"}}},
      {"no tracking at all",
       [](HostFacts& f, Guard&) {
         f.tracked = f.tracked_at_most = std::nullopt;
         f.tracks_midstream = std::nullopt;
       },
       {}},
      {"legacy tables",
       [](HostFacts& f, Guard&) {
         f.legacy_ipv4_tables = {"nat", "filter"};
         f.legacy_ipv6_tables = {"filter"};
       },
       {{Severity::kWarning, "legacy-iptables"}, {Severity::kWarning, "legacy-iptables"}}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    HostFacts facts = WellHost();
    Guard guard{.enforce = true, .ports = {22}};
    one.change(facts, guard);
    std::vector<std::pair<Severity, std::string>> found;
    for (const Finding& finding : Diagnose(facts, guard)) {
      found.emplace_back(finding.severity, finding.name);
      EXPECT_NE(finding.finding, "");
      EXPECT_NE(finding.consequence, "");
      EXPECT_NE(finding.remedy, "");
    }
    EXPECT_THAT(found, ElementsAreArray(one.findings));
  }
}

TEST(Diagnose, NamesOfOthersCannotSteerATerminal) {
  HostFacts facts = WellHost();
  facts.ruleset.tables.push_back(Dropping("a\033[2J", "b\nc"));
  const std::vector<Finding> findings = Diagnose(facts, {.enforce = true, .ports = {22}});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_THAT(findings[0].finding, HasSubstr("chain b\\x0ac (table inet a\\x1b[2J)"));
  EXPECT_THAT(findings[0].remedy, HasSubstr("a\\x1b[2J b\\x0ac"));
}

TEST(Diagnose, ThousandsOfTablesAreNotThousandsOfFindings) {
  HostFacts facts = WellHost();
  for (int i = 0; i < 1000; ++i) {
    facts.ruleset.tables.push_back(Dropping(absl::StrCat("t", i), "input"));
  }
  EXPECT_THAT(Diagnose(facts, {.enforce = true, .ports = {22}}), SizeIs(200));
}

}  // namespace
}  // namespace postern
