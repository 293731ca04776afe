// Orders to a whole host, against an agent in the same process.

#include <gmock/gmock.h>

#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using StandingVerbsTest = ToolTest;

TEST_F(StandingVerbsTest, ALockdownSaysWhatItEndedAndHowItIsLifted) {
  answers_.lockdown.set_ended_grants(2);
  const Outcome run = Tool({"lockdown", "--reason", "a stolen laptop"});
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_THAT(run.out, StartsWith("locked down: 2 grants were ended"));
  EXPECT_THAT(run.out, HasSubstr("posternctl lockdown --lift"));
  EXPECT_EQ(0, Tool({"lockdown", "--lift"}).exit_code);
  EXPECT_THAT(asked().calls, ElementsAre("Lockdown reason: \"a stolen laptop\"", "LiftLockdown "));
}

TEST_F(StandingVerbsTest, AReasonDoesNotGoWithLifting) {
  EXPECT_EQ(2, Tool({"lockdown", "--lift", "--reason", "x"}).exit_code);
  EXPECT_THAT(asked().calls, IsEmpty());
}

TEST_F(StandingVerbsTest, ArmSaysUntilWhenAndWhoCouldNotComeBack) {
  answers_.arm.mutable_armed()->mutable_confirm_by()->set_seconds(1714572000);
  answers_.arm.add_exposed_sessions("198.51.100.9 port 50001 to 192.0.2.1 port 22\033[2J");
  const Outcome run = Tool({"arm", "--confirm-within", "15m"});
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_THAT(run.out, HasSubstr("unless posternctl confirm comes"));
  EXPECT_THAT(run.err, HasSubstr("198.51.100.9 port 50001 to 192.0.2.1 port 22\\x1b[2J stays"));
  Tool({"arm"});
  EXPECT_THAT(asked().calls, ElementsAre("Arm confirm_within { seconds: 900 }",
                                         "Arm confirm_within { seconds: 600 }"));
  EXPECT_EQ(2, Tool({"arm", "--confirm-within", "soon"}).exit_code);
}

TEST_F(StandingVerbsTest, ConfirmAndDisarm) {
  EXPECT_THAT(Tool({"confirm"}).out, HasSubstr("until it is disarmed"));
  EXPECT_THAT(Tool({"disarm"}).out, HasSubstr("nothing is dropped"));
  answers_.failure = absl::FailedPreconditionError("the gate is not armed");
  const Outcome run = Tool({"confirm"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("the gate is not armed"));
}

TEST_F(StandingVerbsTest, TheStatusShowsWhatIsOutOfTheOrdinary) {
  answers_.status.mutable_lockdown()->set_actor("alice");
  answers_.status.mutable_lockdown()->set_reason("a stolen laptop");
  answers_.status.mutable_armed()->mutable_confirm_by()->set_seconds(1714572000);
  answers_.status.set_withheld_grants(3);
  answers_.status.set_withheld_reason("the clock is wrong");
  answers_.status.mutable_repairs()->set_count(2);
  answers_.status.mutable_repairs()->set_last_detail("table deleted by nft");
  answers_.status.mutable_clock_skew()->set_seconds(-90);
  const std::string out = Tool({"status"}).out;
  for (const char* part : {"LOCKED DOWN", "a stolen laptop", "observes again", "3 grants of before",
                           "the clock is wrong", "2 times", "table deleted by nft",
                           "1m30s behind the last caller's"}) {
    EXPECT_THAT(out, HasSubstr(part));
  }
}

}  // namespace
}  // namespace postern
