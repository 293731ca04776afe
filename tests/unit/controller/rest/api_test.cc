#include "controller/rest/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/rest/routes.h"
#include "tests/unit/controller/rest/api_fixture.h"

namespace postern::controller {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using Json = nlohmann::json;

TEST_F(ApiTest, TheEightOperationsAnswerAsAzures) {
  const std::string policy = absl::StrCat(PolicyPath(), kVersion);
  const Json put = Call("PUT", policy, PolicyBody(), 200);
  EXPECT_EQ(put["id"], PolicyPath());
  EXPECT_EQ(put["type"], "Microsoft.Security/locations/jitNetworkAccessPolicies");
  EXPECT_EQ(put["properties"]["requests"], Json::array());
  EXPECT_THAT(Header("ETag"), MatchesRegex("\"[0-9]+\""));
  EXPECT_FALSE(Header("x-ms-request-id").empty());

  const Json asked =
      Call("POST", absl::StrCat(PolicyPath(), "/Initiate", kVersion), AskBody(), 202);
  EXPECT_EQ(asked["requestor"], "owner");
  const Json& port = asked["virtualMachines"][0]["ports"][0];
  EXPECT_EQ(port["allowedSourceAddressPrefix"], "203.0.113.7/32");
  EXPECT_EQ(port["status"], "Initiating");
  EXPECT_EQ(port["endTimeUtc"], "2026-03-01T13:00:00.0000000Z");

  EXPECT_EQ(Call("GET", policy, nullptr, 200)["properties"]["requests"].size(), 1u);
  const std::string provider = "/providers/Microsoft.Security";
  for (const std::string& list :
       {absl::StrCat(kSubscription, provider),
        absl::StrCat(kSubscription, provider, "/locations/West"),
        absl::StrCat(kSubscription, "/resourceGroups/WEB", provider),
        absl::StrCat(kSubscription, "/resourceGroups/web", provider, "/locations/west")}) {
    EXPECT_EQ(Call("GET", absl::StrCat(list, "/jitNetworkAccessPolicies", kVersion), nullptr,
                   200)["value"]
                  .size(),
              1u)
        << list;
  }
  Call("DELETE", policy, nullptr, 200);
  Call("DELETE", policy, nullptr, 204);
  EXPECT_EQ(Call("GET", policy, nullptr, 404)["error"]["code"], "PolicyNotFound");
}

// What `az login` asks for, by whichever version it knows.
TEST_F(ApiTest, TheSubscriptionsOfTheCallerAreListed) {
  for (const char* version : {"2016-06-01", "2019-11-01", "2022-12-01"}) {
    EXPECT_EQ(Call("GET", absl::StrCat("/subscriptions?api-version=", version), nullptr, 200),
              (Json{{"value",
                     {{{"id", kSubscription},
                       {"subscriptionId", "11111111-2222-3333-4444-555555555555"},
                       {"displayName", "11111111-2222-3333-4444-555555555555"},
                       {"state", "Enabled"}}}}}));
  }
  token_ = Call("POST", "/postern/v1/tokens", {{"principal", "user:nobody"}, {"lifetime", "1h"}},
                201)["secret"];
  EXPECT_EQ(Call("GET", "/subscriptions?api-version=2019-11-01", nullptr, 200)["value"],
            Json::array());
}

struct Wrong {
  const char* code;
  int status;
  std::string method;
  std::string target;
  Json body;
};

TEST_F(ApiTest, EachRuleOfTheContractIsHeld) {
  Call("PUT", absl::StrCat(PolicyPath(), kVersion), PolicyBody(), 200);
  const std::string initiate = absl::StrCat(PolicyPath(), "/initiate", kVersion);
  Json long_ask = AskBody();
  long_ask["virtualMachines"][0]["ports"][0]["duration"] = "PT4H";
  Json other_vm = AskBody();
  other_vm["virtualMachines"][0]["id"] = VmPath("web-2");
  Json both = AskBody();
  both["virtualMachines"][0]["ports"][0]["endTimeUtc"] = "2026-03-01T13:00:00Z";
  Json other_group = PolicyBody();
  other_group["properties"]["virtualMachines"][0]["id"] = absl::StrCat(
      kSubscription, "/resourceGroups/db/providers/Microsoft.Compute/virtualMachines/web-1");
  Json port_zero = PolicyBody();
  port_zero["properties"]["virtualMachines"][0]["ports"][0]["number"] = 0;
  for (const Wrong& wrong : std::vector<Wrong>{
           {"MissingApiVersionParameter", 400, "GET", PolicyPath(), nullptr},
           {"MissingApiVersionParameter", 400, "GET", "/subscriptions", nullptr},
           {"InvalidApiVersionParameter", 400, "GET",
            absl::StrCat(PolicyPath(), "?api-version=2019-01-01"), nullptr},
           {"InvalidSubscriptionId", 400, "GET",
            absl::StrCat("/subscriptions/x/providers/Microsoft.Security/jitNetworkAccessPolicies",
                         kVersion),
            nullptr},
           {"PolicyNotFound", 404, "GET", absl::StrCat(PolicyPath("other"), kVersion), nullptr},
           {"PolicyNotFound", 404, "POST", absl::StrCat(PolicyPath("other"), "/initiate", kVersion),
            AskBody()},
           {"InvalidInitiateInput", 400, "POST", initiate, long_ask},
           {"ResourceNotFound", 404, "POST", initiate, other_vm},
           {"InvalidInitiateInput", 400, "POST", initiate, both},
           {"InvalidInitiateInput", 400, "POST", initiate, Json::object()},
           {"InvalidPolicyInput", 400, "PUT", absl::StrCat(PolicyPath(), kVersion), other_group},
           {"InvalidPolicyInput", 400, "PUT", absl::StrCat(PolicyPath(), kVersion), port_zero},
           {"InvalidPolicyInput", 400, "PUT",
            absl::StrCat(PolicyPath(std::string(52, 'p')), kVersion), PolicyBody()},
           {"MethodNotAllowed", 405, "PATCH", absl::StrCat(PolicyPath(), kVersion), nullptr},
           {"ResourceNotFound", 404, "GET", "/nothing", nullptr},
       }) {
    const Json answer = Call(wrong.method, wrong.target, wrong.body, wrong.status);
    EXPECT_EQ(answer["error"]["code"], wrong.code) << wrong.target;
    EXPECT_FALSE(answer["error"]["message"].get<std::string>().empty());
  }
}

TEST_F(ApiTest, WithoutAGoodTokenNobodyIsAnswered) {
  for (const char* authorization :
       {"", "Bearer", "Bearer ", "Basic eA==", "Bearer postern-wrong", "Bearer a.b.c"}) {
    const HttpResponse response = Send({.method = "GET",
                                        .target = "/postern/v1/vms",
                                        .headers = {{"authorization", authorization}}});
    EXPECT_EQ(response.status, 401) << authorization;
    EXPECT_THAT(response.body, HasSubstr("AuthenticationFailed"));
  }
  EXPECT_EQ(
      Send({.method = "GET", .target = "/postern/v1/health", .headers = {{"authorization", ""}}})
          .status,
      200);
}

TEST_F(ApiTest, ATokenEndsAndCanBeRevoked) {
  const Json made =
      Call("POST", "/postern/v1/tokens", {{"principal", "owner"}, {"lifetime", "1h"}}, 201);
  const auto status_with = [&](const std::string& secret) {
    return Send({.method = "GET",
                 .target = "/postern/v1/vms",
                 .headers = {{"authorization", absl::StrCat("bearer ", secret)}}})
        .status;
  };
  const std::string secret = made["secret"];
  EXPECT_EQ(status_with(secret), 200);
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(status_with(secret), 401);
  const Json again =
      Call("POST", "/postern/v1/tokens", {{"principal", "owner"}, {"lifetime", "1h"}}, 201);
  Call("DELETE", absl::StrCat("/postern/v1/tokens/", again["id"].get<std::string>()), nullptr, 204);
  EXPECT_EQ(status_with(again["secret"]), 401);
}

TEST_F(ApiTest, ARequestIsShownExtendedAndEnded) {
  Call("PUT", absl::StrCat(PolicyPath(), kVersion), PolicyBody(), 200);
  const Json asked =
      Call("POST", absl::StrCat(PolicyPath(), "/initiate", kVersion), AskBody(), 202);
  const std::string path =
      absl::StrCat("/postern/v1/requests/", asked["postern"]["id"].get<std::string>());
  EXPECT_EQ(Call("GET", path, nullptr, 200)["ports"][0]["port"], "22/any");
  EXPECT_EQ(Call("GET", "/postern/v1/requests", nullptr, 200)["requests"].size(), 1u);
  Call("POST", path + "/extend", {{"duration", "2h"}}, 200);
  EXPECT_EQ(Call("POST", path + "/extend", {{"duration", "1s"}}, 400)["error"]["code"],
            "InvalidInitiateInput");
  Call("POST", path + "/move", {{"allowedSourceAddressPrefix", "198.51.100.7"}}, 200);
  const Json ended = Call("POST", path + "/end", {{"reason", "done"}}, 200);
  EXPECT_EQ(ended["ports"][0]["status_reason"], "UserRequested");
  EXPECT_EQ(Call("POST", path + "/extend", {{"duration", "1m"}}, 409)["error"]["code"],
            "RequestOver");
}

TEST_F(ApiTest, ARepeatIsToldFromAnotherCallOfTheSameId) {
  Call("PUT", absl::StrCat(PolicyPath(), kVersion), PolicyBody(), 200);
  const auto answer_to = [&](const std::string& id, const Json& body) {
    return Send({.method = "POST",
                 .target = absl::StrCat(PolicyPath(), "/initiate", kVersion),
                 .headers = {{"content-type", "application/json"}, {"x-ms-client-request-id", id}},
                 .body = body.dump()});
  };
  const HttpResponse first = answer_to("call-1", AskBody());
  EXPECT_EQ(first.status, 202);
  EXPECT_EQ(answer_to("call-1", AskBody()).body, first.body);
  Json other = AskBody();
  other["justification"] = "another";
  const HttpResponse refused = answer_to("call-1", other);
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(refused.body, HasSubstr("ClientRequestIdInUse"));
  EXPECT_EQ(answer_to(std::string(128, 'x'), AskBody()).status, 202);
  EXPECT_EQ(answer_to(std::string(129, 'x'), AskBody()).status, 400);
  EXPECT_EQ(answer_to("a\tb", AskBody()).status, 400);
}

TEST_F(ApiTest, AVmWhosePortsMayBeOpenIsForgottenByForceAlone) {
  const std::string vm = absl::StrCat("/postern/v1/vm?id=", VmPath("web-1"));
  Call("POST", absl::StrCat("/postern/v1/vm/enable?id=", VmPath("web-1")), nullptr, 200);
  Call("POST", absl::StrCat(PolicyPath(), "/initiate", kVersion), AskBody(), 202);
  EXPECT_EQ(Call("DELETE", vm + "&force=true", nullptr, 409)["error"]["code"], "ResourceInUse");
  Call("DELETE", absl::StrCat(PolicyPath(), kVersion), nullptr, 200);
  const Json refused = Call("DELETE", vm, nullptr, 409)["error"];
  EXPECT_EQ(refused["code"], "ResourceInUse");
  EXPECT_THAT(refused["message"].get<std::string>(),
              AllOf(HasSubstr("2026-03-01T13:00:00"), HasSubstr("let it attach first"),
                    HasSubstr("force=true")));
  Call("GET", vm, nullptr, 200);
  Call("DELETE", vm + "&force=true", nullptr, 204);
  Call("GET", vm, nullptr, 404);
  const Json events = Call("GET", "/postern/v1/audit", nullptr, 200)["events"];
  EXPECT_EQ(events.back()["operation"], "Microsoft.Compute/virtualMachines/delete");
  EXPECT_EQ(events.back()["status"], "Succeeded");
  EXPECT_EQ(events.back()["detail"]["force"], "true");
}

// A condition that is misspelt would be none.
TEST_F(ApiTest, AParameterThatIsNotKnownIsNotPassedOver) {
  for (const char* target : {
           "/postern/v1/requests?include-ended=true",
           "/postern/v1/requests?include_ended=yes",
           "/postern/v1/audit?from=2026-03-01T12:00:00Z",
           "/postern/v1/audit?format=xml",
           "/postern/v1/me?x=",
       }) {
    Call("GET", target, nullptr, 400);
  }
  Call("DELETE", absl::StrCat("/postern/v1/vm?id=", VmPath("web-1"), "&force=1"), nullptr, 400);
  const Json error = Call("GET", "/postern/v1/vms?nam=web-1", nullptr, 400)["error"];
  EXPECT_EQ(error["message"],
            "this address takes no parameter \"nam\", but subscription, resource_group, name, "
            "page_token");
  Call("GET", "/postern/v1/vms?&name=web-1", nullptr, 200);
  // Azure's clients may send what they like.
  Call("GET", absl::StrCat(PolicyPath(), kVersion, "&x=y"), nullptr, 404);
}

TEST_F(ApiTest, TheAuditIsReadAsJsonAndCsv) {
  Call("PUT", absl::StrCat(PolicyPath(), kVersion), PolicyBody(), 200);
  const Json events = Call("GET", "/postern/v1/audit", nullptr, 200)["events"];
  EXPECT_GE(events.size(), 3u);
  EXPECT_EQ(Call("POST", "/postern/v1/audit/verify", nullptr, 200)["intact"], true);
  HttpResponse csv = Send({.method = "GET", .target = "/postern/v1/audit?format=csv"});
  EXPECT_EQ(csv.status, 200);
  EXPECT_THAT(csv.body, HasSubstr("number,time,operation,status,caller"));
  EXPECT_THAT(csv.body, HasSubstr("jitNetworkAccessPolicies/write,Succeeded,owner"));
  ASSERT_TRUE(csv.more);
  EXPECT_EQ(*csv.more(), "");
}

// RFC 9110, 13.1.1 and 13.1.2.
TEST_F(ApiTest, AnEtagOfAnotherVersionChangesNothing) {
  const std::string policy = absl::StrCat(PolicyPath(), kVersion);
  const auto status_of = [&](const char* method, const std::string& header,
                             const std::string& value) {
    last_ = Send({.method = method,
                  .target = policy,
                  .headers = {{"content-type", "application/json"}, {header, value}},
                  .body = PolicyBody().dump()});
    return last_.status;
  };
  // Nothing is there.
  EXPECT_EQ(status_of("PUT", "if-match", "*"), 412);
  EXPECT_EQ(status_of("PUT", "if-match", "\"1\""), 412);
  EXPECT_EQ(status_of("DELETE", "if-match", "*"), 412);
  EXPECT_EQ(status_of("DELETE", "if-none-match", "*"), 204);
  EXPECT_EQ(status_of("PUT", "if-none-match", "*"), 200);
  EXPECT_EQ(status_of("PUT", "if-none-match", "*"), 412);
  Call("GET", policy, nullptr, 200);
  const std::string first = Header("ETag");
  EXPECT_EQ(status_of("PUT", "if-match", "\"999999\""), 412);
  EXPECT_EQ(status_of("PUT", "if-match", "of another server"), 412);
  EXPECT_EQ(status_of("PUT", "if-match", absl::StrCat("W/", first)), 412);
  EXPECT_EQ(status_of("PUT", "if-none-match", absl::StrCat("\"x\", W/", first)), 412);
  EXPECT_EQ(status_of("PUT", "if-match", absl::StrCat("\"x\" ,", first)), 200);
  EXPECT_NE(Header("ETag"), first);
  EXPECT_EQ(status_of("PUT", "if-match", "*"), 200);
  EXPECT_EQ(status_of("DELETE", "if-match", first), 412);
  EXPECT_EQ(status_of("PUT", "if-none-match", first), 200);
  // One that is made again is another.
  const std::string last = Header("ETag");
  EXPECT_EQ(status_of("DELETE", "if-match", last), 200);
  EXPECT_EQ(status_of("PUT", "if-none-match", "*"), 200);
  EXPECT_NE(Header("ETag"), last);
  EXPECT_EQ(status_of("PUT", "if-match", absl::StrCat(first, ", ", last)), 412);
}

// A script's author finds each address and each parameter in docs/rest.md.
TEST(RoutesTest, TheDocumentHasEachAddress) {
  std::ifstream file(POSTERN_REST_DOCUMENT);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  for (const Route& route : PosternRoutes()) {
    const std::string call = absl::StrCat("| `", route.method, " ", route.pattern, "` |");
    const auto found = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return absl::StartsWith(line, call);
    });
    ASSERT_NE(found, lines.end()) << call;
    for (const std::string& name : route.parameters) {
      if (name == "page_token") continue;
      EXPECT_TRUE(absl::StrContains(*found, absl::StrCat("`", name, "`")) ||
                  absl::StrContains(*found, absl::StrCat("`", name, "=")))
          << call << " " << name;
    }
  }
}

TEST_F(ApiTest, WhoCallsTooOftenIsToldWhenToCallAgain) {
  int limited = 0;
  for (int i = 0; i < 150; ++i) {
    last_ = Send({.method = "GET", .target = "/postern/v1/roles"});
    if (last_.status == 429) ++limited;
  }
  EXPECT_GT(limited, 0);
  EXPECT_EQ(Header("Retry-After"), "1");
  clock_.Advance(absl::Seconds(10));
  EXPECT_EQ(Send({.method = "GET", .target = "/postern/v1/roles"}).status, 200);
}

}  // namespace
}  // namespace postern::controller
