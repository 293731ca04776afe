// Who was refused, in words and for machines.

#include <gmock/gmock.h>

#include "cli/proto_time.h"
#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DeniedVerbTest : public ToolTest {
 protected:
  DeniedVerbTest() {
    v1::ListDeniedResponse& denied = answers_.denied;
    denied.mutable_remembered_for()->set_seconds(3600);
    denied.mutable_now()->set_seconds(absl::ToUnixSeconds(TestNow()));
  }
  void Knock(const std::string& source, uint32_t port, v1::Protocol protocol, uint64_t packets,
             int64_t seconds_ago) {
    v1::DeniedSource& added = *answers_.denied.add_sources();
    added.set_source_address(source);
    added.mutable_port()->set_number(port);
    added.mutable_port()->set_protocol(protocol);
    added.set_packets(packets);
    added.set_bytes(60 * packets);
    added.mutable_last_seen()->set_seconds(absl::ToUnixSeconds(TestNow()) - seconds_ago);
    answers_.denied.set_total(answers_.denied.total() + 1);
  }
};

TEST_F(DeniedVerbTest, TellsWhoOnWhatHowOftenAndWhen) {
  Knock("203.0.113.7", 22, v1::TCP, 14, 20);
  Knock("2001:db8::7", 3389, v1::UDP, 1, 300);
  const Outcome run = Tool({"denied"});
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_EQ(
      "SOURCE       PORT      PACKETS  BYTES  LAST\n"
      "203.0.113.7  22/tcp    14       840    20s ago\n"
      "2001:db8::7  3389/udp  1        60     5m ago\n",
      run.out);
  EXPECT_EQ("", run.err);
  EXPECT_THAT(asked().calls, ElementsAre("ListDenied max_sources: 1000"));
}

TEST_F(DeniedVerbTest, NobodyIsSaid) {
  const Outcome run = Tool({"denied"});
  EXPECT_EQ(0, run.exit_code);
  EXPECT_EQ("", run.out);
  EXPECT_EQ("posternctl: nobody knocked without a grant in the last 1h\n", run.err);
}

TEST_F(DeniedVerbTest, SaysThatTheyWereLetThroughAndThatThereAreMore) {
  Knock("203.0.113.7", 22, v1::TCP, 14, 20);
  answers_.denied.set_let_through(true);
  answers_.denied.set_total(3);
  EXPECT_EQ(
      "posternctl: the mode is observe: all of these were let through\n"
      "posternctl: and 2 more that were seen before\n",
      Tool({"denied"}).err);
}

TEST_F(DeniedVerbTest, JsonIsTheReply) {
  Knock("203.0.113.7", 22, v1::TCP, 14, 20);
  const Outcome run = Tool({"denied", "-o", "json"});
  EXPECT_THAT(run.out, HasSubstr("\"source_address\": \"203.0.113.7\""));
  EXPECT_THAT(run.out, HasSubstr("\"packets\": \"14\""));
  EXPECT_THAT(run.out, HasSubstr("\"let_through\": false"));
  EXPECT_THAT(Tool({"denied", "-o", "yaml"}).out, HasSubstr("source_address: \"203.0.113.7\""));
}

TEST_F(DeniedVerbTest, WhatAnAgentSendsSteersNoTerminal) {
  Knock("\033[2J", 22, v1::TCP, 1, 1);
  EXPECT_THAT(Tool({"denied"}).out, HasSubstr("\\x1b[2J"));
}

TEST_F(DeniedVerbTest, ARefusalIsAFailure) {
  answers_.failure = absl::PermissionDeniedError("not for you");
  const Outcome run = Tool({"denied"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_EQ("posternctl: not for you\n", run.err);
}

}  // namespace
}  // namespace postern
