// What posternctl asks of a controller.

#include "tests/unit/cli/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/exit_code.h"

namespace postern {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::json;

TEST_F(FleetToolTest, AVmIsShownByItsName) {
  const Outcome list = Tool({"vm", "list"});
  EXPECT_EQ(list.exit_code, kExitDone) << list.err;
  EXPECT_THAT(list.out, AllOf(HasSubstr("web-1"), HasSubstr("not_configured")));
  EXPECT_THAT(Tool({"vm", "show", "WEB-1"}).out, HasSubstr("attached, version 1"));
  const Outcome none = Tool({"vm", "show", "web_1"});
  EXPECT_EQ(none.exit_code, kExitNotFound);
  EXPECT_THAT(none.err, HasSubstr("no VM that you may see is named web_1"));
}

TEST_F(FleetToolTest, APolicyGoesThereAndBack) {
  PutPolicy("    \n  postern:\n    onExpiry: cut\n");
  const Outcome shown = Tool({"policy", "show", "default", "-o", "yaml"});
  EXPECT_EQ(shown.exit_code, kExitDone) << shown.err;
  const std::string file = directory_.Write("again.yaml", shown.out);
  EXPECT_EQ(Tool({"policy", "apply", "-f", file}).exit_code, kExitDone);
  EXPECT_THAT(Tool({"policy", "list"}).out, AllOf(HasSubstr("default"), HasSubstr("web-1")));
  EXPECT_THAT(Tool({"policy", "show", "default"}).out, AllOf(HasSubstr("PT30M"), HasSubstr("cut")));
  EXPECT_EQ(Tool({"policy", "delete", "default"}).exit_code, kExitDone);
  EXPECT_EQ(Tool({"policy", "show", "default"}).exit_code, kExitNotFound);
}

TEST_F(FleetToolTest, AFileThatIsNoPolicyIsNamed) {
  const auto apply = [&](const std::string& text) {
    return Tool({"policy", "apply", "-f", directory_.Write("bad.yaml", text)});
  };
  EXPECT_THAT(apply("a: [").err, HasSubstr("bad.yaml:"));
  EXPECT_THAT(apply("a: 1").err, HasSubstr("is no policy"));
  // It would lead the token to another host.
  EXPECT_THAT(apply("{id: .example.org/x, properties: {a: 1}}").err,
              HasSubstr("begins with /subscriptions/"));
  EXPECT_THAT(apply("{? [a] : b}").err, HasSubstr("a key that is no text"));
  EXPECT_EQ(apply(std::string(200, '[')).exit_code, kExitUsage);
}

TEST_F(FleetToolTest, ARequestIsAppliedAndTakenBack) {
  PutPolicy();
  const Outcome made = Tool({"request", "create", "--vm", "web-1", "--port", "22", "--for", "10m",
                             "--wait", "--justification", "deploy", "-o", "json"});
  ASSERT_EQ(made.exit_code, kExitDone) << made.err;
  const Json request = Json::parse(made.out);
  EXPECT_EQ(request["ports"][0]["status"], "Initiated");
  EXPECT_EQ(request["ports"][0]["source_prefixes"][0], "127.0.0.1/32");
  EXPECT_EQ(request["justification"], "deploy");
  const std::string id = request["id"];
  EXPECT_THAT(Tool({"request", "list"}).out, AllOf(HasSubstr(id), HasSubstr("none seen yet")));
  EXPECT_THAT(Tool({"request", "show", id}).out, HasSubstr("none seen yet"));
  EXPECT_EQ(Tool({"request", "extend", id, "--for", "5m"}).exit_code, kExitDone);
  EXPECT_THAT(Tool({"request", "move", id, "--from", "203.0.113.9"}).out, HasSubstr("203.0.113.9"));
  applies_ = false;
  EXPECT_THAT(Tool({"request", "revoke", id, "--reason", "done"}).out,
              AllOf(HasSubstr("Revoked: UserRequested"), HasSubstr("may have it open until")));
  EXPECT_THAT(Tool({"request", "list"}).out, HasSubstr("not closed by the VM yet"));
  applies_ = true;
  Apply();
  EXPECT_THAT(Tool({"request", "list"}).err, HasSubstr("there are no live requests"));
  EXPECT_THAT(Tool({"request", "list", "--all"}).out, AllOf(HasSubstr(id), HasSubstr("never")));
}

// The request stands: a controller that starts anew is asked again.
TEST_F(FleetToolTest, WhoWaitsGoesOnWaitingWhileTheControllerIsAway) {
  PutPolicy();
  outages_ = 3;
  const Outcome made =
      Tool({"request", "create", "--vm", "web-1", "--port", "22", "--for", "10m", "--wait"});
  EXPECT_EQ(made.exit_code, kExitDone) << made.err;
  EXPECT_EQ(outages_, 0);
  outages_ = 1'000;
  const Outcome never = Tool({"request", "create", "--vm", "web-1", "--port", "22", "--for", "10m",
                              "--wait", "--wait-for", "1s"});
  EXPECT_EQ(never.exit_code, kExitFailed);
  EXPECT_THAT(never.err, HasSubstr("503"));
}

TEST_F(FleetToolTest, WhoHasNoRoleIsToldSo) {
  const std::string eve =
      directory_.Write("eve.token", Tool({"token", "create", "--principal", "user:eve"}).out);
  EXPECT_THAT(Tool({"role", "list"}, eve).err, HasSubstr("you have no role yet"));
  EXPECT_THAT(Tool({"audit"}, eve).err, AllOf(HasSubstr("'user:eve' does not have authorization"),
                                              HasSubstr("posternctl role assign")));
}

TEST_F(FleetToolTest, WhatIsInTheWayOfTheControllerIsSaid) {
  const auto error_with = [&](const std::string& name, const std::string& value) {
    const auto before = environment_.variables;
    environment_.variables[name] = value;
    const Outcome outcome = Tool({"vm", "list"});
    environment_.variables = before;
    EXPECT_EQ(outcome.exit_code, kExitFailed) << value;
    return outcome.err;
  };
  const std::string other = directory_.Write("other.pem", TestAuthority("other").cert());
  EXPECT_THAT(error_with("POSTERN_CA", other),
              AllOf(HasSubstr("does not hold: unable to get local issuer"), HasSubstr(other)));
  EXPECT_THAT(error_with("POSTERN_CONTROLLER", "https://127.0.0.1:1"),
              AllOf(HasSubstr("Connection refused"), HasSubstr("rest.address")));
  const std::string empty = directory_.Write("empty.token", "\n");
  EXPECT_THAT(Tool({"vm", "list"}, empty).err, HasSubstr("empty.token holds no token"));
}

TEST_F(FleetToolTest, AnExtensionThatTheVmRefusesIsSaid) {
  PutPolicy();
  const Outcome made = Tool({"request", "create", "--vm", "web-1", "--port", "22", "--for", "10m",
                             "--wait", "-o", "json"});
  ASSERT_EQ(made.exit_code, kExitDone) << made.err;
  const std::string id = Json::parse(made.out)["id"];
  refusal_ = "limits.max_duration is 10m";
  EXPECT_EQ(Tool({"request", "extend", id, "--for", "5m"}).exit_code, kExitDone);
  EXPECT_THAT(Tool({"request", "show", id}).out,
              AllOf(HasSubstr("Initiated"), HasSubstr("not extended"), HasSubstr(refusal_)));
  EXPECT_EQ(Json::parse(Tool({"request", "show", id, "-o", "json"}).out)["ports"][0]["end_time"],
            Json::parse(made.out)["ports"][0]["end_time"]);
}

TEST_F(FleetToolTest, WhatThePolicyRefusesIsSaid) {
  const std::vector<std::string> ask = {"request", "create", "--vm", "web-1", "--port", "22"};
  EXPECT_THAT(Tool(ask).err, HasSubstr("no policy that you may see allows port 22 of web-1"));
  PutPolicy();
  std::vector<std::string> long_one = ask;
  long_one.insert(long_one.end(), {"--for", "2h"});
  const Outcome refused = Tool(long_one);
  EXPECT_NE(refused.exit_code, kExitDone);
  EXPECT_THAT(refused.err, HasSubstr("at most 30m"));
}

TEST_F(FleetToolTest, WaitingForAVmThatIsAwayEnds) {
  PutPolicy();
  applies_ = false;
  const Outcome made =
      Tool({"request", "create", "--vm", "web-1", "--port", "22", "--wait", "--wait-for", "1s"});
  EXPECT_EQ(made.exit_code, kExitFailed);
  EXPECT_THAT(made.err, HasSubstr("is not applied by the VM yet"));
}

TEST_F(FleetToolTest, AnotherApproves) {
  PutPolicy("  postern: {approvals: {count: 1, role: Security Admin}}\n");
  const std::string ana = TokenFor("user:ana", "JIT Requester");
  const std::string bea = TokenFor("user:bea", "Security Admin");
  const Outcome made =
      Tool({"request", "create", "--vm", "web-1", "--port", "22", "-o", "json"}, ana);
  ASSERT_EQ(made.exit_code, kExitDone) << made.err;
  const std::string id = Json::parse(made.out)["id"];
  EXPECT_EQ(Tool({"request", "approve", id}, ana).exit_code, kExitFailed);
  const Outcome approved = Tool({"request", "approve", id}, bea);
  EXPECT_EQ(approved.exit_code, kExitDone) << approved.err;
  EXPECT_THAT(Tool({"request", "show", id}, ana).out,
              AllOf(HasSubstr("Initiated"), HasSubstr("has user:bea")));
  const Outcome other =
      Tool({"request", "create", "--vm", "web-1", "--port", "22", "-o", "json"}, ana);
  const Outcome denied =
      Tool({"request", "deny", Json::parse(other.out)["id"], "--reason", "not today"}, bea);
  EXPECT_THAT(denied.out, AllOf(HasSubstr("Denied"), HasSubstr("not today")));
}

TEST_F(FleetToolTest, SshAsksOnceAndBecomesSsh) {
  PutPolicy();
  std::vector<std::string> ran;
  environment_.become = [&](const std::vector<std::string>& arguments) {
    ran = arguments;
    return absl::UnavailableError("this is a test");
  };
  Tool({"ssh", "ana@web-1.example.org", "--", "-L", "8080:localhost:80", "uptime"});
  EXPECT_THAT(ran,
              ElementsAre("ssh", "ana@web-1.example.org", "-L", "8080:localhost:80", "uptime"));
  Tool({"ssh", "web-1"});
  EXPECT_THAT(ran, ElementsAre("ssh", "web-1"));
  const Json all = Json::parse(Tool({"request", "list", "--all", "-o", "json"}).out);
  EXPECT_EQ(all["requests"].size(), 1u);
  ran.clear();
  EXPECT_EQ(Tool({"ssh", "db-1"}).exit_code, kExitNotFound);
  EXPECT_EQ(Tool({"ssh", "--", "-oProxyCommand=id"}).exit_code, kExitUsage);
  EXPECT_THAT(ran, IsEmpty());
}

TEST_F(FleetToolTest, SshMindsOnlyItsOwnPortOfARequest) {
  PutPolicy();
  const std::vector<std::string> both = {"request", "create", "--vm", "web-1", "--port",
                                         "22",      "--port", "3389", "--wait"};
  ASSERT_EQ(Tool(both).exit_code, kExitDone);
  // Takes 3389 from the request before, which keeps 22.
  ASSERT_EQ(Tool({"request", "create", "--vm", "web-1", "--port", "3389", "--wait"}).exit_code,
            kExitDone);
  bool ran = false;
  environment_.become = [&](const std::vector<std::string>&) {
    ran = true;
    return absl::UnavailableError("this is a test");
  };
  Tool({"ssh", "web-1"});
  EXPECT_TRUE(ran);
}

TEST_F(FleetToolTest, TheAuditIsShownAndVerified) {
  PutPolicy();
  EXPECT_THAT(Tool({"audit"}).out, HasSubstr("jitNetworkAccessPolicies/write"));
  const Outcome csv = Tool({"audit", "--format", "csv", "--since", "1h"});
  EXPECT_THAT(csv.out, HasSubstr("number,time,operation"));
  EXPECT_THAT(csv.out, HasSubstr("user:owner"));
  EXPECT_THAT(Tool({"audit", "verify"}).out, HasSubstr("whole"));
}

TEST_F(FleetToolTest, RolesAndTokensComeAndGo) {
  const std::string ana = TokenFor("user:ana", "JIT Requester");
  EXPECT_THAT(Tool({"role", "list"}).out, HasSubstr("user:ana"));
  EXPECT_EQ(Tool({"token", "create", "--principal", "user:eve"}, ana).exit_code, kExitFailed);
  EXPECT_EQ(Tool({"role", "remove", "--principal", "user:ana", "--role", "JIT Requester", "--scope",
                  kGroup})
                .exit_code,
            kExitDone);
  EXPECT_THAT(Tool({"role", "list"}).out, Not(HasSubstr("user:ana")));
  const Json tokens = Json::parse(Tool({"token", "list", "-o", "json"}).out)["tokens"];
  for (const Json& token : tokens) {
    if (token["principal"] != "user:ana") continue;
    EXPECT_EQ(Tool({"token", "revoke", token["id"]}).exit_code, kExitDone);
  }
  const Outcome refused = Tool({"vm", "list"}, ana);
  EXPECT_EQ(refused.exit_code, kExitFailed);
  EXPECT_THAT(refused.err, HasSubstr("posternctl token create"));
}

TEST_F(FleetToolTest, AVmIsEnabledAndForgotten) {
  applies_ = false;
  const Outcome enabled = Tool({"policy", "enable", "web-1"});
  EXPECT_EQ(enabled.exit_code, kExitDone) << enabled.err;
  EXPECT_THAT(enabled.out, HasSubstr("5986"));
  EXPECT_THAT(Tool({"vm", "remove", "web-1"}).err, HasSubstr("is in a policy"));
  EXPECT_EQ(Tool({"policy", "delete", "default"}).exit_code, kExitDone);
  EXPECT_EQ(Tool({"vm", "remove", "web-1", "--force"}).exit_code, kExitDone);
  EXPECT_THAT(Tool({"vm", "list"}).out, Not(HasSubstr("web-1")));
}

TEST_F(FleetToolTest, AJoinTokenIsListedWithoutItsSecretAndTakenBack) {
  const Outcome made = Tool({"vm", "join-token", "--scope", kGroup, "--uses", "3", "-o", "json"});
  const Json token = Json::parse(made.out);
  const Outcome list = Tool({"vm", "join-tokens"});
  EXPECT_THAT(list.out, HasSubstr(token["id"].get<std::string>()));
  EXPECT_THAT(list.out, Not(HasSubstr(token["secret"].get<std::string>())));
  EXPECT_EQ(Tool({"vm", "revoke-join-token", token["id"]}).exit_code, kExitDone);
  EXPECT_THAT(Tool({"vm", "join-tokens"}).out, HasSubstr("revoked"));
}

TEST_F(FleetToolTest, WithoutAControllerOrATokenItIsSaidWhatIsMissing) {
  environment_.variables.erase("POSTERN_CONTROLLER");
  EXPECT_THAT(Tool({"vm", "list"}).err, HasSubstr("set POSTERN_CONTROLLER"));
  environment_.variables = {{"POSTERN_CONTROLLER", "http://localhost"}};
  EXPECT_THAT(Tool({"vm", "list"}).err, HasSubstr("https://"));
  environment_.variables = {{"POSTERN_CONTROLLER", "https://localhost"}};
  EXPECT_THAT(RunTool({"vm", "list"}, environment_).err, HasSubstr("--token-file"));
  EXPECT_THAT(RunTool({"status", "--controller", "https://localhost"}, environment_).err,
              HasSubstr("asks an agent"));
}

}  // namespace
}  // namespace postern
