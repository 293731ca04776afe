#include "controller/domain/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "controller/domain/error.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

constexpr char kSubscription[] = "11111111-2222-3333-4444-555555555555";

PortRule Ssh() {
  return {.number = 22, .protocol = RuleProtocol::kTcp, .max_duration = absl::Hours(3)};
}

Policy Good() {
  const VmId vm = {.subscription = kSubscription, .resource_group = "web", .name = "web-1"};
  return {.id = {.subscription = kSubscription,
                 .resource_group = "Web",
                 .location = "west",
                 .name = "default"},
          .vms = {{.id = vm, .ports = {Ssh()}}}};
}

TEST(PolicyTest, OneThatIsInOrderStands) {
  EXPECT_EQ(CheckPolicy(Good()), absl::OkStatus());
  Policy without_vms = Good();
  without_vms.vms.clear();
  EXPECT_EQ(CheckPolicy(without_vms), absl::OkStatus());
}

struct Mistake {
  const char* words;
  std::function<void(Policy&)> make;
};

TEST(PolicyTest, EachMistakeIsNamed) {
  const std::vector<Mistake> mistakes = {
      {"port 0", [](Policy& p) { p.vms[0].ports[0].number = 0; }},
      {"PT5M to P1D",
       [](Policy& p) { p.vms[0].ports[0].max_duration = absl::Minutes(5) - absl::Seconds(1); }},
      {"PT5M to P1D",
       [](Policy& p) { p.vms[0].ports[0].max_duration = absl::Hours(24) + absl::Seconds(1); }},
      {"no ports", [](Policy& p) { p.vms[0].ports.clear(); }},
      {"port 22 twice", [](Policy& p) { p.vms[0].ports.push_back(Ssh()); }},
      {"65 ports", [](Policy& p) { p.vms[0].ports.resize(65, Ssh()); }},
      {"65 source prefixes",
       [](Policy& p) {
         p.vms[0].ports[0].allowed_sources.prefixes.resize(65, *Prefix::Parse("192.0.2.0/24"));
       }},
      {"web-1 twice", [](Policy& p) { p.vms.push_back(p.vms[0]); }},
      {"not in the policy's resource group",
       [](Policy& p) { p.vms[0].id.resource_group = "other"; }},
      {"56", [](Policy& p) { p.id.name = std::string(52, 'p'); }},
      {"not a name", [](Policy& p) { p.id.name = "a/b"; }},
      {"not a name", [](Policy& p) { p.id.location = ""; }},
      {"from 0 to 10", [](Policy& p) { p.additions.approvals = -1; }},
      {"from 0 to 10", [](Policy& p) { p.additions.approvals = 11; }},
      {"no role",
       [](Policy& p) {
         p.additions.approvals = 1;
         p.additions.approver_role = "Nobody";
       }},
      {"1001 virtual machines", [](Policy& p) { p.vms.resize(1001, p.vms[0]); }},
  };
  for (const Mistake& mistake : mistakes) {
    Policy policy = Good();
    mistake.make(policy);
    const absl::Status status = CheckPolicy(policy);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << mistake.words;
    EXPECT_THAT(std::string(status.message()), HasSubstr(mistake.words));
  }
}

TEST(PolicyTest, NamesOf56CharactersTogetherAreAllowed) {
  Policy policy = Good();
  policy.id.name = std::string(51, 'p');
  EXPECT_EQ(CheckPolicy(policy), absl::OkStatus());
}

TEST(SourcesTest, HoldWhatIsInsideThem) {
  const Sources some = {
      .prefixes = {*Prefix::Parse("192.0.2.0/24"), *Prefix::Parse("2001:db8::/32")}};
  EXPECT_TRUE(some.Contains(*Prefix::Parse("192.0.2.7/32")));
  EXPECT_TRUE(some.Contains(*Prefix::Parse("192.0.2.0/24")));
  EXPECT_TRUE(some.Contains(*Prefix::Parse("2001:db8:1::/48")));
  EXPECT_FALSE(some.Contains(*Prefix::Parse("192.0.0.0/16")));
  EXPECT_FALSE(some.Contains(*Prefix::Parse("198.51.100.1/32")));
  EXPECT_TRUE(Sources().Contains(*Prefix::Parse("0.0.0.0/0")));
}

}  // namespace
}  // namespace postern::controller
