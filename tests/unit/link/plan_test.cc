#include "agent/link/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace postern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

constexpr char kFirst[] = "11111111-1111-4111-8111-111111111111";
constexpr char kSecond[] = "22222222-2222-4222-8222-222222222222";
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

GrantRequest Wanted(const std::string& id, absl::Duration remaining = absl::Hours(1)) {
  return {.id = id,
          .sources = {*Prefix::Parse("203.0.113.7")},
          .ports = {{.number = 22, .tcp = true}},
          .duration = remaining,
          .not_after = kNow + remaining,
          .requestor = "ana",
          .justification = "",
          .on_expiry = std::nullopt,
          .sent_at = std::nullopt};
}

Grant Held(const std::string& id, absl::Duration remaining = absl::Hours(1)) {
  Grant grant;
  grant.id = id;
  grant.sources = {*Prefix::Parse("203.0.113.7")};
  grant.ports = {{.number = 22, .tcp = true}};
  grant.start = kNow;
  grant.end = kNow + remaining;
  return grant;
}

TEST(MakePlanTest, WhatIsMissingIsMade) {
  const Plan plan = MakePlan({.revision = 1, .grants = {Wanted(kFirst)}}, {}, kNow);
  ASSERT_THAT(plan.steps, SizeIs(1));
  const GrantRequest& request = std::get<CreateGrant>(plan.steps[0]).request;
  EXPECT_EQ(request.id, kFirst);
  EXPECT_EQ(request.duration, absl::Hours(1));
}

// A message that was ten minutes on its way, or a clock that is ahead: the earlier
// end wins.
TEST(MakePlanTest, WhatIsMadeEndsAtTheEarlierEnd) {
  const Plan plan =
      MakePlan({.revision = 1, .grants = {Wanted(kFirst)}}, {}, kNow + absl::Minutes(10));
  ASSERT_THAT(plan.steps, SizeIs(1));
  EXPECT_EQ(std::get<CreateGrant>(plan.steps[0]).request.duration, absl::Minutes(50));
}

TEST(MakePlanTest, WhatIsAsWantedIsLeftAlone) {
  const Plan plan = MakePlan({.revision = 1, .grants = {Wanted(kFirst)}},
                             {.live = {{kFirst, Held(kFirst)}}}, kNow + absl::Milliseconds(300));
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.settled, SizeIs(1));
}

TEST(MakePlanTest, ALaterEndIsAnExtension) {
  const Plan plan = MakePlan({.revision = 1, .grants = {Wanted(kFirst, absl::Hours(2))}},
                             {.live = {{kFirst, Held(kFirst)}}}, kNow);
  ASSERT_THAT(plan.steps, SizeIs(1));
  EXPECT_EQ(std::get<ExtendGrant>(plan.steps[0]).by, absl::Hours(1));
}

// The VM's clock is an hour behind the controller's: what remains goes before the
// wall time, which would lengthen the grant.
TEST(MakePlanTest, AClockThatIsOffLengthensNothing) {
  GrantRequest wanted = Wanted(kFirst);
  wanted.not_after = kNow + absl::Hours(2);
  const Plan plan =
      MakePlan({.revision = 1, .grants = {wanted}}, {.live = {{kFirst, Held(kFirst)}}}, kNow);
  EXPECT_THAT(plan.steps, IsEmpty());
}

TEST(MakePlanTest, OtherSourcesAreAMove) {
  GrantRequest wanted = Wanted(kFirst);
  wanted.sources = {*Prefix::Parse("203.0.113.9")};
  const Plan plan =
      MakePlan({.revision = 1, .grants = {wanted}}, {.live = {{kFirst, Held(kFirst)}}}, kNow);
  ASSERT_THAT(plan.steps, SizeIs(1));
  EXPECT_EQ(std::get<MoveGrant>(plan.steps[0]).sources, wanted.sources);
}

TEST(MakePlanTest, WhatTakesAnothersPlaceOpensBeforeThatCloses) {
  const Plan plan = MakePlan(
      {.revision = 2,
       .grants = {Wanted(kSecond)},
       .withdrawn = {{kFirst, {.reason = "NewerRequestInitiated", .keep_sessions = true}}}},
      {.live = {{kFirst, Held(kFirst)}}}, kNow);
  ASSERT_THAT(plan.steps, SizeIs(2));
  EXPECT_EQ(std::get<CreateGrant>(plan.steps[0]).request.id, kSecond);
  const auto& revoke = std::get<RevokeGrant>(plan.steps[1]);
  EXPECT_EQ(revoke.id, kFirst);
  EXPECT_TRUE(revoke.keep_sessions);
  EXPECT_EQ(revoke.reason, "NewerRequestInitiated");
}

TEST(MakePlanTest, WhatANewerOneReplacesIsSuperseded) {
  const Plan plan = MakePlan(
      {.revision = 2, .withdrawn = {{kFirst, {.keep_sessions = true, .superseded = true}}}},
      {.live = {{kFirst, Held(kFirst)}}}, kNow);
  ASSERT_THAT(plan.steps, SizeIs(1));
  EXPECT_TRUE(std::get<RevokeGrant>(plan.steps[0]).superseded);
}

// The controller may see the end a moment before this VM does.
TEST(MakePlanTest, WhatIsAboutToEndEndsByItself) {
  const WantedGrants over = {.revision = 2,
                             .withdrawn = {{kFirst, {.reason = "Expired", .keep_sessions = true}}}};
  const HeldGrants held = {.live = {{kFirst, Held(kFirst, absl::Seconds(1))}}};
  const Plan plan = MakePlan(over, held, kNow);
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.waiting, ElementsAre(Pair(kFirst, "")));
  EXPECT_THAT(MakePlan(over, {.live = {{kFirst, Held(kFirst, absl::Seconds(5))}}}, kNow).steps,
              SizeIs(1));
  // Somebody wants it closed, and its sessions with it.
  const WantedGrants revoked = {.revision = 2,
                                .withdrawn = {{kFirst, {.reason = "UserRequested"}}}};
  EXPECT_THAT(MakePlan(revoked, held, kNow).steps, SizeIs(1));
}

TEST(MakePlanTest, AClockThatIsTooFarAheadIsSaid) {
  const Plan plan =
      MakePlan({.revision = 1, .grants = {Wanted(kFirst)}}, {}, kNow + absl::Minutes(90));
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.refused, ElementsAre(Pair(kFirst, HasSubstr("1h30m ahead"))));
}

// It was tried again and again until its end had come.
TEST(MakePlanTest, WhatEndedBeforeItCouldBeMadeIsNotMade) {
  GrantRequest late = Wanted(kFirst);
  late.duration = -absl::Seconds(1);
  const Plan plan = MakePlan({.revision = 1, .grants = {late}}, {}, kNow + absl::Hours(1));
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.refused, IsEmpty());
  // What lives still is wanted until its own end.
  const HeldGrants held = {.live = {{kFirst, Held(kFirst, absl::Hours(1) + absl::Seconds(1))}}};
  EXPECT_THAT(MakePlan({.revision = 1, .grants = {late}}, held, kNow + absl::Hours(1)).steps,
              IsEmpty());
}

TEST(MakePlanTest, WhatHasEndedHereIsToldAndNotMadeAgain) {
  Grant ended = Held(kFirst);
  ended.state = GrantState::kRevoked;
  const Plan plan = MakePlan({.revision = 1, .grants = {Wanted(kFirst)}},
                             {.live = {}, .others = {{kFirst, ended}}}, kNow);
  EXPECT_THAT(plan.steps, IsEmpty());
  ASSERT_THAT(plan.settled, SizeIs(1));
  EXPECT_EQ(ReportOf(plan.settled[0]).state(), v1::REVOKED);
}

// It is not in force, and its end does not come while it is withheld.
TEST(MakePlanTest, WhatIsWithheldWaitsUnlessItIsWithdrawn) {
  const HeldGrants held = {.live = {{kFirst, Held(kFirst, absl::Seconds(1))}},
                           .withheld = {{kFirst, "no clock"}}};
  const Plan wanted = MakePlan({.revision = 1, .grants = {Wanted(kFirst)}}, held, kNow);
  EXPECT_THAT(wanted.steps, IsEmpty());
  EXPECT_THAT(wanted.settled, IsEmpty());
  EXPECT_THAT(wanted.waiting, ElementsAre(Pair(kFirst, "no clock")));
  const Plan over = MakePlan(
      {.revision = 2, .withdrawn = {{kFirst, {.reason = "Expired", .keep_sessions = true}}}}, held,
      kNow);
  EXPECT_THAT(over.steps, SizeIs(1));
  EXPECT_THAT(over.waiting, IsEmpty());
}

TEST(MakePlanTest, WhatHadEndedBeforeItWasWithdrawnIsTold) {
  Grant ended = Held(kFirst);
  ended.state = GrantState::kExpired;
  const WantedGrants withdrawn = {
      .revision = 2,
      .withdrawn = {{kFirst, {.reason = "UserRequested"}}, {kSecond, {.reason = "UserRequested"}}}};
  const Plan plan =
      MakePlan(withdrawn, {.others = {{kFirst, ended}, {kSecond, Held(kSecond)}}}, kNow);
  EXPECT_THAT(plan.steps, IsEmpty());
  ASSERT_THAT(plan.settled, SizeIs(1));
  EXPECT_EQ(plan.settled[0].id, kFirst);
}

TEST(ReportOfTest, AReasonIsNoLongerThanAControllerTakes) {
  Grant grant = Held(kFirst);
  grant.state = GrantState::kRevoked;
  grant.end_cause = "revoked by local: " + std::string(4096, 'x');
  EXPECT_EQ(ReportOf(grant).reason(), grant.end_cause.substr(0, 4096));
  std::string euros(4095, 'x');
  euros += "\xE2\x82\xAC";
  EXPECT_EQ(RefusalOf(kFirst, euros).reason(), std::string(4095, 'x'));
}

TEST(ReportOfTest, AMoveThatThisVmRefusedIsARefusal) {
  Grant grant = Held(kFirst);
  grant.state = GrantState::kRevoked;
  const auto state = [&](const std::string& cause) {
    grant.end_cause = cause;
    return ReportOf(grant).state();
  };
  const std::string reason = MoveRefusedReason("198.51.100.1/32 is not allowed");
  EXPECT_EQ(state("revoked by controller:ctl:7444: " + reason), v1::GRANT_STATE_UNSPECIFIED);
  EXPECT_EQ(ReportOf(grant).reason(), reason);
  EXPECT_EQ(state("revoked by controller:[::1]:7444: " + reason), v1::GRANT_STATE_UNSPECIFIED);
  // Words that others use are no refusal.
  EXPECT_EQ(state("revoked by local: " + reason), v1::REVOKED);
  EXPECT_EQ(state("revoked by controller:ctl:7444: UserRequested: " + reason), v1::REVOKED);
  EXPECT_EQ(state("revoked by controller:ctl:7444"), v1::REVOKED);
}

v1::WantedState Good() {
  v1::WantedState state;
  state.set_revision(3);
  v1::WantedGrant& grant = *state.add_grants();
  grant.set_id(kFirst);
  grant.add_source_prefixes("203.0.113.0/24");
  grant.add_ports()->set_number(22);
  grant.mutable_ports(0)->set_protocol(v1::ANY);
  grant.mutable_remaining()->set_seconds(60);
  grant.mutable_not_after()->set_seconds(1'800'000'060);
  return state;
}

TEST(ReadWantedTest, ReadsAllOfIt) {
  v1::WantedState state = Good();
  v1::Withdrawal& gone = *state.add_withdrawn();
  gone.set_id(kSecond);
  gone.set_reason("UserRequested");
  gone.set_superseded(true);
  const absl::StatusOr<WantedGrants> wanted = ReadWanted(state);
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  EXPECT_EQ(wanted->revision, 3u);
  ASSERT_THAT(wanted->grants, SizeIs(1));
  EXPECT_TRUE(wanted->grants[0].ports[0].tcp && wanted->grants[0].ports[0].udp);
  EXPECT_EQ(wanted->grants[0].duration, absl::Minutes(1));
  EXPECT_EQ(wanted->grants[0].not_after, kNow + absl::Minutes(1));
  EXPECT_EQ(wanted->withdrawn.at(kSecond).reason, "UserRequested");
  EXPECT_TRUE(wanted->withdrawn.at(kSecond).superseded);
}

TEST(ReadWantedTest, RefusesWhatNoControllerSends) {
  using Change = std::function<void(v1::WantedState&)>;
  for (const Change& change : std::vector<Change>{
           [](v1::WantedState& s) { s.mutable_grants(0)->set_id("x"); },
           [](v1::WantedState& s) {
             s.mutable_grants(0)->set_source_prefixes(0, "203.0.113.7/24");
           },
           [](v1::WantedState& s) { s.mutable_grants(0)->mutable_ports(0)->set_number(0); },
           [](v1::WantedState& s) { s.mutable_grants(0)->mutable_ports(0)->set_number(65536); },
           [](v1::WantedState& s) {
             s.mutable_grants(0)->mutable_ports(0)->set_protocol(v1::PROTOCOL_UNSPECIFIED);
           },
           [](v1::WantedState& s) { s.mutable_grants(0)->clear_remaining(); },
           [](v1::WantedState& s) { s.mutable_grants(0)->clear_not_after(); },
           [](v1::WantedState& s) {
             s.mutable_grants(0)->set_on_expiry(static_cast<v1::OnExpiry>(9));
           },
           [](v1::WantedState& s) { *s.add_grants() = s.grants(0); },
           [](v1::WantedState& s) { s.add_withdrawn()->set_id(""); },
       }) {
    v1::WantedState state = Good();
    change(state);
    EXPECT_EQ(ReadWanted(state).status().code(), absl::StatusCode::kInvalidArgument)
        << state.ShortDebugString();
  }
}

}  // namespace
}  // namespace postern
