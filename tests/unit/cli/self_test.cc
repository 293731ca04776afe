// Why somebody cannot get in, and what would let them.

#include "cli/self.h"

#include <gmock/gmock.h>

#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

ListeningSocket At(absl::string_view address, uint16_t port) {
  return {.address = Address::Parse(address).value(), .port = port};
}

class SelfTest : public ToolTest {
 protected:
  SelfTest() {
    v1::GetStatusResponse& status = answers_.status;
    status.set_mode("enforce");
    for (const uint32_t port : {22U, 3389U}) status.add_guarded_ports(port);
    status.mutable_max_duration()->set_seconds(3 * 3600);
    environment_.listeners = [this] { return listeners_; };
  }
  void Knock(const std::string& source, uint32_t port = 22, v1::Protocol protocol = v1::TCP,
             uint64_t packets = 14) {
    v1::DeniedSource& added = *answers_.denied.add_sources();
    added.set_source_address(source);
    added.mutable_port()->set_number(port);
    added.mutable_port()->set_protocol(protocol);
    added.set_packets(packets);
    added.mutable_last_seen()->set_seconds(absl::ToUnixSeconds(TestNow()) - 20);
    answers_.denied.set_total(answers_.denied.total() + 1);
  }
  std::string Self() {
    const Outcome run = Tool({"self"});
    EXPECT_EQ(0, run.exit_code) << run.err;
    return run.out;
  }

  std::vector<ListeningSocket> listeners_ = {At("0.0.0.0", 22), At("::", 22), At("0.0.0.0", 80)};
};

TEST_F(SelfTest, TellsWhoKnockedAndTheCommandThatWouldLetThemIn) {
  Knock("203.0.113.7");
  Knock("2001:db8::7", 3389, v1::UDP, 1);
  EXPECT_EQ(
      "the gate: enforce; 22, 3389 are closed but for grants\n"
      "who listens:\n"
      "  22/tcp on 0.0.0.0\n"
      "  22/tcp on ::\n"
      "who knocked without a grant lately:\n"
      "  203.0.113.7 knocked on 22/tcp 14 times, last 20s ago\n"
      "    if that is you: posternctl grant --from 203.0.113.7 --port 22 --for 1h\n"
      "  2001:db8::7 knocked on 3389/udp once, last 20s ago\n"
      "    if that is you: posternctl grant --from 2001:db8::7 --port 3389/udp --for 1h\n"
      "live grants:\n"
      "  none\n",
      Self());
}

TEST_F(SelfTest, TheCommandStaysWithinTheLongestGrant) {
  answers_.status.mutable_max_duration()->set_seconds(1800);
  Knock("203.0.113.7");
  EXPECT_THAT(Self(), HasSubstr("--for 30m\n"));
}

TEST_F(SelfTest, AGrantThatCoversItByNowNeedsNoOther) {
  Knock("203.0.113.7");
  answers_.grants = {TestGrant()};
  EXPECT_THAT(
      Self(),
      AllOf(HasSubstr(absl::StrCat("grant ", kId, " covers it by now (1h left): try again")),
            Not(HasSubstr("if that is you")), HasSubstr("  203.0.113.7/32 to 22/tcp, 1h left\n")));
}

TEST_F(SelfTest, AGrantThatEndedIsTold) {
  Knock("203.0.113.7");
  v1::Grant ended = TestGrant();
  ended.set_state(v1::EXPIRED);
  ended.set_end_cause("its time had come");
  ended.mutable_end_time()->set_seconds(absl::ToUnixSeconds(TestNow()) - 300);
  ended.mutable_end_time()->set_nanos(0);
  v1::Grant before = ended;
  before.set_id(kOtherId);
  before.mutable_end_time()->set_seconds(absl::ToUnixSeconds(TestNow()) - 9000);
  // Of another port.
  v1::Grant other = ended;
  other.mutable_ports(0)->set_number(3389);
  other.mutable_end_time()->set_seconds(absl::ToUnixSeconds(TestNow()) - 1);
  answers_.grants = {before, ended, other};
  EXPECT_THAT(
      Self(),
      AllOf(HasSubstr(absl::StrCat("grant ", kId, " for it ended 5m ago: its time had come\n")),
            HasSubstr("if that is you: posternctl grant")));
}

TEST_F(SelfTest, NobodyRefusedMeansThatNothingComesThisFar) {
  EXPECT_THAT(Self(), AllOf(HasSubstr("  nobody\n"), HasSubstr("does not come this far")));
}

TEST_F(SelfTest, AListenerOnLoopbackIsOutOfReach) {
  listeners_ = {At("127.0.0.1", 22), At("::1", 22)};
  EXPECT_THAT(Self(), AllOf(HasSubstr("22/tcp on 127.0.0.1: loopback, out of reach"),
                            HasSubstr("22/tcp on ::1: loopback, out of reach"),
                            HasSubstr("have it listen on more than loopback")));
}

TEST_F(SelfTest, NobodyListensIsTold) {
  listeners_ = {};
  EXPECT_THAT(Self(), AllOf(HasSubstr("nobody on a guarded TCP port"), HasSubstr("start sshd")));
}

TEST_F(SelfTest, LockedDownNoGrantIsOffered) {
  Knock("203.0.113.7");
  answers_.status.mutable_lockdown()->set_actor("local");
  answers_.status.mutable_lockdown()->set_reason("an incident");
  answers_.status.mutable_lockdown()->mutable_since()->set_seconds(1);
  EXPECT_THAT(Self(),
              AllOf(HasSubstr("LOCKED DOWN by local"), HasSubstr("an incident"),
                    Not(HasSubstr("if that is you")), HasSubstr("posternctl lockdown --lift")));
}

TEST_F(SelfTest, WhereTheGateObservesItIsNotTheReason) {
  answers_.status.set_mode("observe");
  Knock("203.0.113.7");
  EXPECT_THAT(Self(), AllOf(HasSubstr("nothing is dropped"), HasSubstr("and was let through"),
                            HasSubstr("what keeps you out is something else")));
}

TEST_F(SelfTest, TheAgentsOwnPortIsNotForAGrant) {
  Knock("203.0.113.7", 7443);
  EXPECT_THAT(Self(), Not(HasSubstr("if that is you")));
}

TEST_F(SelfTest, TellsOfTheCallersOwnSession) {
  environment_.variables["SSH_CONNECTION"] = "198.51.100.9 50000 192.0.2.1 2222";
  answers_.check.set_reason("no live grant covers it");
  EXPECT_THAT(Self(), AllOf(HasSubstr("you came over ssh from 198.51.100.9\n"),
                            HasSubstr("would be refused: no live grant covers it\n")));
  EXPECT_EQ(asked().calls.back(),
            "CheckAccess source_address: \"198.51.100.9\" port { number: 2222 protocol: TCP }");
}

TEST_F(SelfTest, OnlyTheLastFewKnocksAreTold) {
  for (int i = 1; i <= 7; ++i) Knock(absl::StrCat("203.0.113.", i));
  EXPECT_THAT(Self(), AllOf(HasSubstr("203.0.113.5 "), Not(HasSubstr("203.0.113.6 ")),
                            HasSubstr("and 2 more: posternctl denied\n")));
}

TEST_F(SelfTest, FindingsOfWeightAreTold) {
  for (const v1::FindingSeverity severity : {v1::NOTICE, v1::CRITICAL}) {
    v1::Finding& finding = *answers_.diagnosis.add_findings();
    finding.set_severity(severity);
    finding.set_name(severity == v1::NOTICE ? "ufw" : "foreign-drop");
    finding.set_finding("Chain input drops.");
  }
  EXPECT_THAT(Self(), AllOf(HasSubstr("  foreign-drop: Chain input drops.\n"),
                            Not(HasSubstr("ufw")), HasSubstr("posternctl doctor")));
}

TEST_F(SelfTest, WithoutAnAgentItSaysWhatToDo) {
  const Outcome run = RunTool({"self", "--socket", directory_ + "/nobody.sock"}, environment_);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.out, AllOf(HasSubstr("the agent does not answer: there is no socket"),
                             HasSubstr("22/tcp on 0.0.0.0"), Not(HasSubstr("80/tcp")),
                             HasSubstr("systemctl status postern-agent"),
                             HasSubstr("journalctl -u postern-agent")));
}

TEST_F(SelfTest, JsonHoldsAll) {
  Knock("203.0.113.7");
  const Outcome run = Tool({"self", "-o", "json"});
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("\"command\": \"posternctl grant --from 203.0.113.7 --port 22"),
                    HasSubstr("\"agent_problem\": \"\""), HasSubstr("\"listeners\": [")));
}

TEST_F(SelfTest, IsAboutThisHostOnly) {
  const Outcome run = RunTool(
      {"self", "--address", "agent:7443", "--ca", "a", "--cert", "b", "--key", "c"}, environment_);
  EXPECT_EQ(2, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("leave --address"));
}

TEST(ListenersTest, AreReadFromTheKernelsTables) {
  std::istringstream four(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
      "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
      "   1: 0100007F:0D3D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
      "   2: 010200C0:0016 077100CB:C350 01 00000000:00000000 00:00000000 00000000     0\n");
  EXPECT_THAT(ParseListeners(four, Family::kIpv4),
              ElementsAre(At("0.0.0.0", 22), At("127.0.0.1", 3389)));
  std::istringstream six(
      "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n"
      "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0\n");
  EXPECT_THAT(ParseListeners(six, Family::kIpv6), ElementsAre(At("::", 22), At("::1", 22)));
}

TEST(ListenersTest, WhatIsNoSocketIsLeftOut) {
  std::istringstream table(
      "   0: 0000000:0016 0 0A\n   1: 00000000 0 0A\n   2: zzzzzzzz:0016 0 0A\n   3:\n\n");
  EXPECT_THAT(ParseListeners(table, Family::kIpv4), IsEmpty());
}

}  // namespace
}  // namespace postern
