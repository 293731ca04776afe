// What systemctl status shows.

#include "agent/app/status_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace postern {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

absl::Time Utc(int day, int hour, int minute, int second) {
  return absl::FromCivil(absl::CivilSecond(2026, 1, day, hour, minute, second),
                         absl::UTCTimeZone());
}

// 13:53 on 2 January 2026.
GateStatus Calm() {
  GateStatus status;
  status.now = Utc(2, 13, 53, 0);
  status.enforced = true;
  return status;
}

std::string Line(const GateStatus& status) { return StatusLine(status, 4, false); }

TEST(StatusLineTest, SaysHowManyGrantsLiveAndWhenTheNextEnds) {
  GateStatus status = Calm();
  status.live_grants = 3;
  status.next_end = Utc(2, 14, 5, 12) + absl::Milliseconds(900);
  EXPECT_EQ(Line(status),
            "enforcing 4 ports; 3 grants live, next ends 14:05:12Z; drift repaired 0");
}

TEST(StatusLineTest, CountsInWords) {
  GateStatus status = Calm();
  EXPECT_EQ(Line(status), "enforcing 4 ports; no grants live; drift repaired 0");
  status.live_grants = 1;
  status.next_end = Utc(2, 14, 0, 0);
  status.repairs.count = 2;
  EXPECT_EQ(StatusLine(status, 1, false),
            "enforcing 1 port; 1 grant live, next ends 14:00:00Z; drift repaired 2");
}

TEST(StatusLineTest, TellsOfThoseWhoNeedNoGrant) {
  GateStatus status = Calm();
  status.always_allowed = 2;
  EXPECT_EQ(Line(status),
            "enforcing 4 ports; no grants live; 2 sources always allowed; drift repaired 0");
}

TEST(StatusLineTest, AnEndOnAnotherDayHasItsDate) {
  GateStatus status = Calm();
  status.live_grants = 1;
  status.next_end = Utc(3, 0, 0, 0);
  EXPECT_THAT(Line(status), HasSubstr("next ends 2026-01-03 00:00:00Z;"));
  status.next_end = Utc(2, 23, 59, 59);
  EXPECT_THAT(Line(status), HasSubstr("next ends 23:59:59Z;"));
}

// So that it is made anew only when something happens.
TEST(StatusLineTest, StaysAsItIsWhileNothingHappens) {
  GateStatus status = Calm();
  status.live_grants = 1;
  status.next_end = Utc(2, 23, 0, 0);
  status.standing.armed =
      Armed{.since = status.now,
            .actor = "local",
            .confirm_by = ConfirmBy{
                .wall = Utc(2, 22, 0, 0), .deadline = {}, .boot_id = {}, .within = absl::Hours(9)}};
  const std::string before = Line(status);
  status.now += absl::Hours(8);
  EXPECT_EQ(Line(status), before);
}

TEST(StatusLineTest, SaysThatItOnlyObserves) {
  GateStatus status = Calm();
  status.enforced = false;
  EXPECT_EQ(Line(status),
            "observing 4 ports, nothing is dropped; no grants live; drift repaired 0");
}

TEST(StatusLineTest, SaysThatItIsLockedDown) {
  GateStatus status = Calm();
  status.standing.lockdown = Lockdown{.since = status.now, .actor = "local", .reason = "theft"};
  EXPECT_EQ(Line(status), "enforcing 4 ports, LOCKED DOWN; no grants live; drift repaired 0");
}

TEST(StatusLineTest, SaysUntilWhenItIsArmedAndNothingOnceConfirmed) {
  GateStatus status = Calm();
  status.standing.armed = Armed{
      .since = status.now,
      .actor = "local",
      .confirm_by = ConfirmBy{
          .wall = Utc(2, 14, 3, 0), .deadline = {}, .boot_id = {}, .within = absl::Minutes(10)}};
  EXPECT_EQ(Line(status),
            "enforcing 4 ports, armed until 14:03:00Z unless confirmed; no grants live; "
            "drift repaired 0");
  status.standing.armed->confirm_by.reset();
  EXPECT_THAT(Line(status), Not(HasSubstr("armed")));
}

TEST(StatusLineTest, SaysWhyGrantsAreWithheld) {
  GateStatus status = Calm();
  status.withheld_grants = 2;
  status.withheld_reason = "the wall clock is not synchronised";
  EXPECT_THAT(
      Line(status),
      EndsWith("; drift repaired 0; 2 grants withheld: the wall clock is not synchronised"));
}

TEST(StatusLineTest, SaysThatTheLedgerWasReplaced) {
  EXPECT_THAT(StatusLine(Calm(), 4, true),
              EndsWith("; ledger replaced, the damaged one is kept aside"));
}

TEST(StatusLineTest, EndsWithTheWarnings) {
  GateStatus status = Calm();
  status.warnings = {"one", "another"};
  EXPECT_THAT(Line(status), EndsWith("; drift repaired 0; one; another"));
}

}  // namespace
}  // namespace postern
