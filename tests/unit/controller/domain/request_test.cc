#include "controller/domain/request.h"

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
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

VmId Vm(const std::string& name) {
  return {.subscription = kSubscription, .resource_group = "web", .name = name};
}

Policy WebPolicy() {
  const PortRule ssh = {.number = 22,
                        .protocol = RuleProtocol::kTcp,
                        .max_duration = absl::Hours(3),
                        .allowed_sources = {.prefixes = {*Prefix::Parse("203.0.113.0/24")}}};
  const PortRule rdp = {
      .number = 3389, .protocol = RuleProtocol::kAny, .max_duration = absl::Hours(1)};
  return {.id = {.subscription = kSubscription,
                 .resource_group = "web",
                 .location = "west",
                 .name = "default"},
          .vms = {{.id = Vm("web-1"), .ports = {ssh, rdp}}, {.id = Vm("web-2"), .ports = {ssh}}}};
}

Asked AskSsh() {
  const AskedPort port = {.number = 22, .duration = absl::Hours(1)};
  return {.vms = {{.id = Vm("web-1"), .ports = {port}}}, .justification = "deploy"};
}

const Address kCaller = *Address::Parse("203.0.113.7");

TEST(DecideRequestTest, TakesTheCallersOwnAddressWhereNoneIsGiven) {
  const absl::StatusOr<Request> request = DecideRequest(WebPolicy(), AskSsh(), kCaller, kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_EQ(request->ports.size(), 1u);
  const RequestedPort& port = request->ports[0];
  EXPECT_EQ(port.sources.prefixes[0].ToString(), "203.0.113.7/32");
  EXPECT_EQ(port.protocol, RuleProtocol::kTcp);
  EXPECT_EQ(*port.end, kNow + absl::Hours(1));
  EXPECT_EQ(port.status, PortStatus::kInitiating);
}

TEST(DecideRequestTest, AnEndIsKeptToTheMicrosecond) {
  Asked asked = AskSsh();
  asked.vms[0].ports[0].duration.reset();
  asked.vms[0].ports[0].end = kNow + absl::Hours(3);
  const absl::StatusOr<Request> request = DecideRequest(WebPolicy(), asked, kCaller, kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request->ports[0].end, kNow + absl::Hours(3));
}

TEST(DecideRequestTest, AnySourceIsAllowedWhereThePolicyAllowsAny) {
  Asked asked = AskSsh();
  asked.vms[0].ports[0].number = 3389;
  asked.vms[0].ports[0].sources = Sources{};
  const absl::StatusOr<Request> request = DecideRequest(WebPolicy(), asked, kCaller, kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->ports[0].sources.any());
}

TEST(DecideRequestTest, ApprovalsStopTheClock) {
  Policy policy = WebPolicy();
  policy.additions = {.approvals = 2, .approver_role = "Owner"};
  const absl::StatusOr<Request> request = DecideRequest(policy, AskSsh(), kCaller, kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->ports[0].status, PortStatus::kPending);
  EXPECT_FALSE(request->ports[0].end.has_value());
  EXPECT_EQ(request->ports[0].duration, absl::Hours(1));
  EXPECT_EQ(request->approvals_needed, 2);
}

struct Mistake {
  const char* words;
  std::function<void(Policy&, Asked&)> make;
};

AskedPort& FirstPort(Asked& asked) { return asked.vms[0].ports[0]; }

TEST(DecideRequestTest, EachMistakeIsNamedAndNothingIsAllowed) {
  const std::vector<Mistake> mistakes = {
      {"no virtual machine", [](Policy&, Asked& a) { a.vms.clear(); }},
      {"no port", [](Policy&, Asked& a) { a.vms[0].ports.clear(); }},
      {"twice for web-1", [](Policy&, Asked& a) { a.vms.push_back(a.vms[0]); }},
      {"twice for port 22", [](Policy&, Asked& a) { a.vms[0].ports.push_back(FirstPort(a)); }},
      {"is not in the policy", [](Policy&, Asked& a) { a.vms[0].id = Vm("web-3"); }},
      {"port 23 of web-1 is not in the policy",
       [](Policy&, Asked& a) { FirstPort(a).number = 23; }},
      {"neither endTimeUtc nor duration", [](Policy&, Asked& a) { FirstPort(a).duration.reset(); }},
      {"both endTimeUtc and duration",
       [](Policy&, Asked& a) { FirstPort(a).end = kNow + absl::Hours(1); }},
      {"not in the future",
       [](Policy&, Asked& a) {
         FirstPort(a).duration.reset();
         FirstPort(a).end = kNow;
       }},
      {"less than a minute", [](Policy&, Asked& a) { FirstPort(a).duration = absl::Seconds(59); }},
      {"at most 3h",
       [](Policy&, Asked& a) { FirstPort(a).duration = absl::Hours(3) + absl::Microseconds(1); }},
      {"at most 3h",
       [](Policy&, Asked& a) {
         FirstPort(a).duration.reset();
         FirstPort(a).end = absl::InfiniteFuture();
       }},
      {"does not allow port 22 from 198.51.100.1/32",
       [](Policy&, Asked& a) {
         FirstPort(a).sources = Sources{.prefixes = {*Prefix::Parse("198.51.100.1")}};
       }},
      {"does not allow port 22 from 203.0.0.0/16",
       [](Policy&, Asked& a) {
         FirstPort(a).sources = Sources{.prefixes = {*Prefix::Parse("203.0.0.0/16")}};
       }},
      {"asked for any source", [](Policy&, Asked& a) { FirstPort(a).sources = Sources{}; }},
      {"wants a justification",
       [](Policy& p, Asked& a) {
         p.additions.justification_required = true;
         a.justification.clear();
       }},
      {"wants a justification",
       [](Policy& p, Asked& a) {
         p.additions.justification_required = true;
         a.justification = " \t\n";
       }},
      {"4097 bytes", [](Policy&, Asked& a) { a.justification = std::string(4097, 'x'); }},
      {"not UTF-8", [](Policy&, Asked& a) { a.justification = "\xff"; }},
      // All of it or nothing: the second VM is not allowed.
      {"port 3389 of web-2",
       [](Policy&, Asked& a) {
         a.vms.push_back(
             {.id = Vm("web-2"), .ports = {{.number = 3389, .duration = absl::Minutes(30)}}});
       }},
  };
  for (const Mistake& mistake : mistakes) {
    Policy policy = WebPolicy();
    Asked asked = AskSsh();
    mistake.make(policy, asked);
    const absl::StatusOr<Request> request = DecideRequest(policy, asked, kCaller, kNow);
    ASSERT_FALSE(request.ok()) << mistake.words;
    EXPECT_THAT(std::string(request.status().message()), HasSubstr(mistake.words));
    EXPECT_FALSE(AzureCodeOf(request.status()).empty()) << mistake.words;
  }
}

TEST(DecideRequestTest, WithoutAnAddressTheSourceMustBeNamed) {
  EXPECT_THAT(
      std::string(DecideRequest(WebPolicy(), AskSsh(), std::nullopt, kNow).status().message()),
      HasSubstr("names no source"));
}

}  // namespace
}  // namespace postern::controller
