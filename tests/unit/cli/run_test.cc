// The whole tool against an agent in the same process.

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(ToolTest, GrantSendsWhatWasAskedAndShowsWhatCameOfIt) {
  const Outcome run =
      Tool({"grant", "--from", "203.0.113.7", "--port", "22", "--port", "53/udp", "--for", "1h",
            "--until", "2024-05-01T15:30:00Z", "--justification", "deploy 142", "--requestor",
            "alice", "--on-expiry", "reset", "--id", kId});
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_EQ("", run.err);
  EXPECT_THAT(run.out, StartsWith(absl::StrCat("grant ", kId, " ACTIVE\n")));
  EXPECT_THAT(run.out, HasSubstr("2024-05-01 15:00:00 +02 (2024-05-01T15:00:00+02:00), 1h left"));
  EXPECT_THAT(asked().calls,
              ElementsAre(absl::StrCat(
                  "CreateGrant id: \"", kId,
                  "\" source_prefixes: \"203.0.113.7/32\" ports { number: 22 protocol: TCP } ports "
                  "{ number: 53 protocol: UDP } duration { seconds: 3600 } not_after { seconds: "
                  "1714577400 } requestor: \"alice\" justification: \"deploy 142\" on_expiry: "
                  "RESET sent_at { seconds: 1714564800 }")));
}

TEST_F(ToolTest, GrantMakesANewIdEachTime) {
  Tool({"grant", "--from", "203.0.113.7", "--port", "22", "--for", "1h"});
  const std::string first = asked().create.id();
  Tool({"grant", "--from", "203.0.113.7", "--port", "22", "--for", "1h"});
  EXPECT_EQ(36U, first.size());
  EXPECT_NE(first, asked().create.id());
}

TEST_F(ToolTest, GrantWithoutFromUsesWhereSshComesFromAndSaysSo) {
  environment_.variables["SSH_CONNECTION"] = "198.51.100.4 52114 192.0.2.10 22";
  const Outcome run = Tool({"grant", "--port", "22", "--for", "1h"});
  EXPECT_EQ(0, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("using 198.51.100.4/32, where you come from by SSH_CONNECTION"));
  EXPECT_THAT(asked().create.source_prefixes(), ElementsAre("198.51.100.4/32"));
}

TEST_F(ToolTest, GrantWithoutAnySourceIsWrongOnItsFace) {
  Outcome run = Tool({"grant", "--port", "22", "--for", "1h"});
  EXPECT_EQ(2, run.exit_code);
  EXPECT_EQ("", run.out);
  EXPECT_THAT(run.err, HasSubstr("--from is missing"));
  environment_.variables["SSH_CONNECTION"] = "fe80::1%eth0 52114 fe80::2%eth0 22";
  run = Tool({"grant", "--port", "22", "--for", "1h"});
  EXPECT_EQ(2, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("link-local"));
  EXPECT_TRUE(asked().calls.empty());
}

TEST_F(ToolTest, GrantIsRepeatedOnceWithTheSameIdWhenTheAgentIsUnavailable) {
  answers_.failure = absl::UnavailableError("the ledger is busy");
  answers_.failures = 1;
  const std::vector<std::string> grant = {"grant", "--from", "203.0.113.7", "--port",
                                          "22",    "--for",  "1h"};
  EXPECT_EQ(0, Tool(grant).exit_code);
  ASSERT_EQ(2U, asked().calls.size());
  EXPECT_EQ(asked().calls[0], asked().calls[1]);

  answers_.failures = 1 << 20;
  const Outcome run = Tool(grant);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ(4U, asked().calls.size());
  EXPECT_THAT(run.err, StartsWith("posternctl: the ledger is busy\n"));
  EXPECT_THAT(run.err, HasSubstr(absl::StrCat("--id ", asked().create.id())));
}

TEST_F(ToolTest, EachCodeHasItsExitCode) {
  struct Case {
    absl::Status failure;
    int exit_code;
  };
  const Case cases[] = {{absl::InvalidArgumentError("m"), 2},
                        {absl::NotFoundError("m"), 3},
                        {absl::FailedPreconditionError("m"), 1},
                        {absl::PermissionDeniedError("m"), 1},
                        {absl::UnauthenticatedError("m"), 1},
                        {absl::AlreadyExistsError("m"), 1},
                        {absl::ResourceExhaustedError("m"), 1},
                        {absl::UnavailableError("m"), 1},
                        {absl::InternalError("m"), 1}};
  for (const Case& c : cases) {
    answers_.failure = c.failure;
    const Outcome run = Tool({"extend", kId, "--for", "30m"});
    EXPECT_EQ(c.exit_code, run.exit_code) << c.failure;
    EXPECT_EQ("", run.out);
    EXPECT_EQ("posternctl: m\n", run.err);
  }
}

TEST_F(ToolTest, ViolationsComeUnderTheOptionThatSetTheField) {
  answers_.failure = absl::InvalidArgumentError("the request is wrong");
  answers_.violations = {{"ports[0].number", "port 8022 is not guarded\033[2J"},
                         {"justification", "has 5000 bytes"}};
  const Outcome run = Tool({"grant", "--from", "203.0.113.7", "--port", "8022", "--for", "1h"});
  EXPECT_EQ(2, run.exit_code);
  EXPECT_EQ(
      "posternctl: the request is wrong\n"
      "  --port: port 8022 is not guarded\\x1b[2J\n"
      "  --justification: has 5000 bytes\n",
      run.err);
}

TEST_F(ToolTest, GrantsGoesThroughAllPages) {
  for (int i = 0; i < 5; ++i) {
    answers_.grants.push_back(TestGrant(absl::StrCat("00000000-0000-4000-8000-00000000000", i)));
  }
  const Outcome table = Tool({"grants"});
  EXPECT_EQ(0, table.exit_code);
  EXPECT_EQ(3U, asked().calls.size());
  EXPECT_THAT(asked().calls[2], HasSubstr("page_token: \"4\""));
  for (const v1::Grant& grant : answers_.grants) EXPECT_THAT(table.out, HasSubstr(grant.id()));

  const Outcome json = Tool({"-o", "json", "grants", "--all"});
  EXPECT_THAT(json.out, StartsWith("{\n \"grants\": [\n  {\n   \"id\": \"00000000"));
  EXPECT_THAT(json.out, EndsWith("\n ]\n}\n"));
  EXPECT_THAT(json.out, Not(HasSubstr("next_page_token")));
  EXPECT_THAT(asked().calls.back(), HasSubstr("include_ended: true"));
  EXPECT_THAT(Tool({"grants", "-o", "yaml"}).out, StartsWith("grants:\n  - id: \"00000000"));
}

TEST_F(ToolTest, NoGrantsAreSaidOnStderrAndAnEmptyListInData) {
  const Outcome table = Tool({"grants"});
  EXPECT_EQ(0, table.exit_code);
  EXPECT_EQ("", table.out);
  EXPECT_THAT(table.err, HasSubstr("no live grants"));
  EXPECT_EQ("{\n \"grants\": []\n}\n", Tool({"grants", "-o", "json"}).out);
}

TEST_F(ToolTest, GrantsFitATerminalAndAreWholeElsewhere) {
  v1::Grant wide = TestGrant();
  wide.set_requestor(std::string(200, 'x'));
  answers_.grants = {wide};
  EXPECT_THAT(Tool({"grants"}).out, HasSubstr(wide.requestor()));
  environment_.out_is_terminal = true;
  environment_.columns = 130;
  const std::string shown = Tool({"grants"}).out;
  EXPECT_THAT(shown, Not(HasSubstr(wide.requestor())));
  EXPECT_THAT(shown, HasSubstr("…"));
  EXPECT_THAT(shown, HasSubstr(kId));
}

TEST_F(ToolTest, ColourIsForTerminalsWithoutNoColor) {
  const std::vector<std::string> extend = {"extend", kId, "--for", "30m"};
  EXPECT_THAT(Tool(extend).out, Not(HasSubstr("\033")));
  environment_.out_is_terminal = true;
  EXPECT_THAT(Tool(extend).out, HasSubstr("\033[32mACTIVE\033[0m"));
  environment_.variables["NO_COLOR"] = "1";
  EXPECT_THAT(Tool(extend).out, Not(HasSubstr("\033")));
}

TEST_F(ToolTest, ExtendMoveAndRevokeSendTheirRequests) {
  EXPECT_EQ(0, Tool({"extend", kId, "--for", "30m"}).exit_code);
  EXPECT_EQ(0, Tool({"move", kId, "--from", "203.0.113.99", "--from", "::1"}).exit_code);
  EXPECT_EQ(0, Tool({"revoke", kId, "--keep-sessions", "--reason", "left early"}).exit_code);
  EXPECT_THAT(asked().calls,
              ElementsAre(absl::StrCat("ExtendGrant id: \"", kId, "\" duration { seconds: 1800 }"),
                          absl::StrCat("MoveGrant id: \"", kId,
                                       "\" source_prefixes: \"203.0.113.99/32\" source_prefixes: "
                                       "\"::1/128\""),
                          absl::StrCat("RevokeGrant id: \"", kId,
                                       "\" keep_sessions: true reason: \"left early\"")));
}

TEST_F(ToolTest, RevokeAllRevokesEachLiveGrant) {
  answers_.grants = {TestGrant(kId), TestGrant(kOtherId)};
  const Outcome run = Tool({"revoke", "--all", "--reason", "incident"});
  EXPECT_EQ(0, run.exit_code);
  EXPECT_THAT(run.out, HasSubstr(kId));
  EXPECT_THAT(run.out, HasSubstr(kOtherId));
  EXPECT_THAT(asked().calls,
              ElementsAre(HasSubstr("ListGrants page_size: 1000"), HasSubstr("RevokeGrant"),
                          HasSubstr("reason: \"incident\"")));
}

TEST_F(ToolTest, RevokeAllGoesOnAfterAFailureAndTellsOfIt) {
  answers_.grants = {TestGrant(kId), TestGrant(kOtherId)};
  answers_.unknown_ids = {kId};
  const Outcome run = Tool({"revoke", "--all", "-o", "json"});
  EXPECT_EQ(3, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr(absl::StrCat("grant ", kId, " was not revoked")));
  EXPECT_THAT(run.out, HasSubstr(kOtherId));
  EXPECT_THAT(run.out, Not(HasSubstr(kId)));
}

TEST_F(ToolTest, RevokeAllWithoutGrantsIsDone) {
  const Outcome run = Tool({"revoke", "--all", "-o", "json"});
  EXPECT_EQ(0, run.exit_code);
  EXPECT_EQ("{\n \"grants\": []\n}\n", run.out);
}

TEST_F(ToolTest, CheckAnswersInWordsAndByExitCode) {
  answers_.check.set_allowed(true);
  answers_.check.set_grant_id(kId);
  *answers_.check.mutable_end_time() = TestGrant().end_time();
  const std::vector<std::string> check = {"check", "--from", "::ffff:203.0.113.7", "--port", "22"};
  Outcome run = Tool(check);
  EXPECT_EQ(0, run.exit_code);
  EXPECT_EQ(absl::StrCat("allowed by grant ", kId, " until 2024-05-01T15:00:00+02:00\n"), run.out);
  EXPECT_THAT(asked().calls, ElementsAre("CheckAccess source_address: \"203.0.113.7\" port { "
                                         "number: 22 protocol: TCP }"));

  answers_.check.clear_grant_id();
  answers_.check.set_reason("port 22 is not guarded");
  EXPECT_EQ("allowed: port 22 is not guarded\n", Tool(check).out);

  answers_.check.set_allowed(false);
  answers_.check.set_reason("no grant covers it");
  run = Tool(check);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ("denied: no grant covers it\n", run.out);
  answers_.check.Clear();
  run = Tool({"check", "--from", "203.0.113.7", "--port", "22", "-o", "json"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ("{\n \"allowed\": false,\n \"grant_id\": \"\",\n \"reason\": \"\"\n}\n", run.out);
}

TEST_F(ToolTest, StatusInEachFormat) {
  answers_.status.set_version("0.1.0");
  answers_.status.set_mode("observe");
  EXPECT_THAT(Tool({"status"}).out, StartsWith("postern agent 0.1.0\n  mode               observe "
                                               "(nothing is dropped)\n"));
  EXPECT_THAT(Tool({"status", "-o", "json"}).out, HasSubstr("\"dropped_packets\": \"0\""));
  EXPECT_THAT(Tool({"status", "-o", "yaml"}).out, HasSubstr("guarded_ports: []\n"));
}

TEST_F(ToolTest, AuditGoesThroughAllPagesInEachFormat) {
  answers_.events = {TestEvent(1), TestEvent(2), TestEvent(3)};
  const Outcome csv = Tool({"audit", "--since", "7d", "--format", "csv"});
  EXPECT_EQ(0, csv.exit_code);
  EXPECT_THAT(csv.out, StartsWith("number,time,kind,"));
  EXPECT_THAT(csv.out, HasSubstr("\r\n3,2024-05-01T12:00:00Z,GRANT_CREATED,"));
  EXPECT_THAT(asked().calls[0], HasSubstr("since { seconds: 1713960000 }"));
  EXPECT_THAT(Tool({"audit"}).out, StartsWith("#1 2024-05-01T14:00:00+02:00 grant created "));
  EXPECT_THAT(Tool({"audit", "--format", "json"}).out, StartsWith("{\n \"events\": [\n  {\n"));
  EXPECT_THAT(Tool({"audit", "-o", "yaml"}).out, StartsWith("events:\n  - number: \"1\"\n"));
}

TEST_F(ToolTest, WatchPrintsEventsUntilItIsInterrupted) {
  const int stop = eventfd(0, EFD_CLOEXEC);
  environment_.open_stop_fd = [&] { return dup(stop); };
  answers_.watches = {{.events = {TestEvent(8), TestEvent(9)},
                       .end = absl::AbortedError("the reader fell behind")}};
  answers_.on_silence = [&] { eventfd_write(stop, 1); };
  const Outcome run = Tool({"watch", "--after", "7", "-o", "json"});
  close(stop);
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_THAT(run.out, StartsWith("{\"number\":\"8\",\"kind\":\"GRANT_CREATED\","));
  EXPECT_THAT(run.out, HasSubstr("}\n{\"number\":\"9\","));
  EXPECT_THAT(run.err, HasSubstr("resuming after event 9"));
  EXPECT_THAT(asked().calls,
              ElementsAre("WatchEvents after_number: 7", "WatchEvents after_number: 9"));
}

TEST_F(ToolTest, WatchGivesUpWhenResumingBringsNothing) {
  const Answers::Watch behind = {.events = {}, .end = absl::AbortedError("the reader fell behind")};
  answers_.watches = {{.events = {TestEvent(8)}, .end = behind.end}, behind, behind, behind};
  const Outcome run = Tool({"watch"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ(2U, asked().calls.size());
  EXPECT_THAT(run.out, StartsWith("#8 "));
  EXPECT_THAT(run.err, HasSubstr("posternctl watch --after 8"));
}

TEST_F(ToolTest, WatchFailsWhenTheAgentRefusesIt) {
  answers_.watches = {{.events = {}, .end = absl::PermissionDeniedError("not you")}};
  const Outcome run = Tool({"watch"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ("posternctl: not you\n", run.err);
}

TEST_F(ToolTest, AMissingSocketIsNamedWithTheWayOut) {
  const std::string missing = directory_ + "/none.sock";
  const Outcome run = RunTool({"status", "--socket", missing}, environment_);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ("", run.out);
  EXPECT_THAT(run.err, HasSubstr(missing));
  EXPECT_THAT(run.err, HasSubstr("systemctl status postern-agent"));
}

TEST_F(ToolTest, ASocketWithAnOddNameIsReached) {
  const std::string odd = directory_ + "/a%41 b?#.sock";
  // gRPC decodes the path of a server's address as well.
  const auto agent = StartFakeAgent("unix:" + directory_ + "/a%2541%20b%3F%23.sock", answers_);
  ASSERT_NE(nullptr, agent);
  EXPECT_EQ(0, RunTool({"status", "--socket", odd}, environment_).exit_code);
}

TEST_F(ToolTest, ACallThatTakesTooLongIsGivenUp) {
  const int stop = eventfd(0, EFD_CLOEXEC);
  auto agent = StartFakeAgent("unix:" + socket_, answers_);
  answers_.before_answer = [&] {
    eventfd_t ignored = 0;
    eventfd_read(stop, &ignored);
  };
  const Outcome run = RunTool({"status", "--socket", socket_, "--timeout", "1s"}, environment_);
  eventfd_write(stop, 1);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("no answer within 1s (--timeout)"));
  agent.reset();
  close(stop);
}

}  // namespace
}  // namespace postern
