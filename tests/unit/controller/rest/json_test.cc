#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "controller/domain/error.h"
#include "controller/rest/azure_json.h"
#include "controller/rest/json_reading.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

HttpRequest WithBody(const std::string& body,
                     const std::string& content_type = "application/json") {
  return {.method = "PUT", .headers = {{"content-type", content_type}}, .body = body};
}

TEST(ReadBodyTest, TakesJsonOfItsType) {
  EXPECT_TRUE(ReadBody(WithBody("{}")).ok());
  EXPECT_TRUE(ReadBody(WithBody("{}", "Application/JSON; charset=utf-8")).ok());
}

TEST(ReadBodyTest, RefusesWhatIsNotThat) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "{\"a\":";
  const std::vector<std::pair<HttpRequest, const char*>> mistakes = {
      {WithBody("{}", "text/plain"), "application/json"},
      {WithBody("{}", ""), "application/json"},
      {WithBody(""), "not JSON"},
      {WithBody("[]"), "not a JSON object"},
      {WithBody("{\"a\":1,}"), "not JSON"},
      {WithBody("{\"a\":NaN}"), "not JSON"},
      {WithBody("{\"a\":1e999}"), "not JSON"},
      {WithBody("{\"a\":\"\xff\"}"), "not UTF-8"},
      {WithBody("{\"a\":1,\"a\":2}"), "twice"},
      {WithBody("{\"b\":{\"a\":1,\"a\":2}}"), "twice"},
      {WithBody(deep), "levels"},
      {WithBody(std::string(100'000, '[')), "levels"},
  };
  for (const auto& [request, words] : mistakes) {
    const absl::Status status = ReadBody(request).status();
    EXPECT_EQ(AzureCodeOf(status), "InvalidRequestContent") << request.body.substr(0, 40);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
}

constexpr char kVm[] =
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web/providers/"
    "Microsoft.Compute/virtualMachines/web-1";

Json Port() {
  return {{"number", 22},
          {"protocol", "*"},
          {"allowedSourceAddressPrefix", "*"},
          {"maxRequestAccessDuration", "PT3H"}};
}

Json PolicyWith(const Json& port) {
  return {{"kind", "Basic"},
          {"properties", {{"virtualMachines", {{{"id", kVm}, {"ports", {port}}}}}}}};
}

absl::StatusOr<PolicyChange> Read(const Json& port) { return ReadPolicy({}, PolicyWith(port)); }

TEST(ReadPolicyTest, TakesWhatEachClientSends) {
  Json port = Port();
  ASSERT_TRUE(Read(port).ok()) << Read(port).status();
  EXPECT_TRUE(Read(port)->vms[0].ports[0].allowed_sources.any());
  // Terraform.
  port["number"] = "22";
  EXPECT_EQ(Read(port)->vms[0].ports[0].number, 22);
  port.erase("allowedSourceAddressPrefix");
  port["allowedSourceAddressPrefixes"] = {"192.0.2.0/24", "198.51.100.7"};
  const absl::StatusOr<PolicyChange> listed = Read(port);
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_TRUE(listed->vms[0].ports[0].allowed_sources.listed);
  EXPECT_EQ(listed->vms[0].ports[0].allowed_sources.prefixes.size(), 2u);
  EXPECT_FALSE(listed->additions.has_value());
}

TEST(ReadPolicyTest, RequestsInItForgeNothing) {
  Json body = PolicyWith(Port());
  body["properties"]["requests"] = {{{"requestor", "eve"}}};
  EXPECT_TRUE(ReadPolicy({}, body).ok());
}

TEST(ReadPolicyTest, EachMistakeIsNamed) {
  const std::vector<std::pair<Json, const char*>> changes = {
      {{{"number", -1}}, "no port"},
      {{{"number", 65536}}, "no port"},
      {{{"number", 22.5}}, "no port"},
      {{{"number", "22x"}}, "no port"},
      {{{"protocol", "ICMP"}}, "TCP, UDP or *"},
      {{{"protocol", nullptr}}, "missing"},
      {{{"maxRequestAccessDuration", "3h"}}, "ISO 8601"},
      {{{"maxRequestAccessDuration", nullptr}}, "missing"},
      {{{"allowedSourceAddressPrefix", "192.0.2.1/24"}}, "192.0.2.0/24"},
      {{{"allowedSourceAddressPrefix", "Internet"}}, "Internet"},
      {{{"allowedSourceAddressPrefix", nullptr}}, "any source"},
      {{{"allowedSourceAddressPrefixes", Json::array({"192.0.2.0/24"})}}, "give one"},
      {{{"allowedSourceAddressPrefix", nullptr}, {"allowedSourceAddressPrefixes", Json::array()}},
       "empty"},
  };
  for (const auto& [change, words] : changes) {
    Json port = Port();
    port.update(change);
    const absl::Status status = Read(port).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << change;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words)) << change;
  }
}

TEST(ReadAskedTest, TimesComeWithAnyNumberOfDigits) {
  for (const char* text : {"2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z",
                           "2026-03-01T12:00:00.0000000Z", "2026-03-01T13:00:00+01:00"}) {
    const Json body = {
        {"virtualMachines", {{{"id", kVm}, {"ports", {{{"number", 22}, {"endTimeUtc", text}}}}}}}};
    const absl::StatusOr<Asked> asked = ReadAsked(body);
    ASSERT_TRUE(asked.ok()) << asked.status();
    EXPECT_EQ(*asked->vms[0].ports[0].end, absl::FromUnixSeconds(1772366400)) << text;
  }
  for (const char* text : {"infinite-future", "tomorrow", "2026-03-01", "1772366400"}) {
    const Json body = {
        {"virtualMachines", {{{"id", kVm}, {"ports", {{{"number", 22}, {"endTimeUtc", text}}}}}}}};
    EXPECT_FALSE(ReadAsked(body).ok()) << text;
  }
}

TEST(AzureJsonTest, WritesDurationsAndTimesAsAzureDoes) {
  EXPECT_EQ(IsoDuration(absl::Hours(3)), "PT3H");
  EXPECT_EQ(IsoDuration(absl::Minutes(90)), "PT1H30M");
  EXPECT_EQ(IsoDuration(absl::Hours(24)), "P1D");
  EXPECT_EQ(IsoDuration(absl::Seconds(5)), "PT5S");
  EXPECT_EQ(IsoDuration(absl::ZeroDuration()), "PT0S");
  EXPECT_EQ(AzureTime(absl::FromUnixMicros(1772366400123456)), "2026-03-01T12:00:00.1234560Z");
}

TEST(AzureJsonTest, APolicyReadsBackAsItWas) {
  Json port = Port();
  port["allowedSourceAddressPrefix"] = "192.0.2.0/24";
  Json body = PolicyWith(port);
  body["properties"]["postern"] = {{"onExpiry", "cut"},
                                   {"requireJustification", true},
                                   {"approvals", {{"count", 2}, {"role", "Owner"}}}};
  const absl::StatusOr<PolicyChange> change = ReadPolicy({}, body);
  ASSERT_TRUE(change.ok()) << change.status();
  PolicyView view;
  view.policy.vms = change->vms;
  view.policy.additions = *change->additions;
  const Json written = PolicyJson(view);
  EXPECT_EQ(written["properties"]["virtualMachines"], body["properties"]["virtualMachines"]);
  EXPECT_EQ(written["properties"]["postern"], body["properties"]["postern"]);
  EXPECT_EQ(written["properties"]["requests"], Json::array());
  EXPECT_EQ(written["kind"], "Basic");
}

// An approval that is dropped for a slip of the pen opens the door.
TEST(ReadPolicyTest, WhatIsPosternsOwnIsSpeltRight) {
  const auto message = [](const char* additions) {
    const Json body = {
        {"properties", {{"virtualMachines", Json::array()}, {"postern", Json::parse(additions)}}}};
    return std::string(ReadPolicy(PolicyId{}, body).status().message());
  };
  EXPECT_THAT(message(R"({"approval": {"count": 1, "role": "Owner"}})"),
              testing::HasSubstr("\"approval\" is not known there; approvals, onExpiry"));
  EXPECT_THAT(message(R"({"requireJustificaton": true})"), testing::HasSubstr("not known"));
  EXPECT_THAT(message(R"({"approvals": {"count": 1, "rolle": "x"}})"),
              testing::HasSubstr("\"rolle\" is not known there; count, role are"));
  EXPECT_EQ(message(R"({"approvals": {"count": 1, "role": "Owner"}, "onExpiry": "cut"})"), "");
}

}  // namespace
}  // namespace postern::controller
