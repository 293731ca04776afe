#include "agent/grants/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const absl::Time kWall = absl::FromUnixSeconds(1'800'000'000);
const Now kNow = {.boot = BootTime(absl::Seconds(1000)), .wall = kWall};

class DecideTest : public ::testing::Test {
 protected:
  DecisionContext Context(size_t live = 0) const {
    return {.limits = limits_, .now = kNow, .live_grants = live};
  }
  absl::StatusOr<Grant> Create(const GrantRequest& request, size_t live = 0) const {
    return DecideCreate(request, "spiffe://example.org/controller", Context(live));
  }

  Limits limits_;
};

TEST_F(DecideTest, AGrantStartsNowAndLastsItsDuration) {
  const absl::StatusOr<Grant> grant = Create(Request(1));
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(grant->start, kWall);
  EXPECT_EQ(grant->end, kWall + absl::Hours(1));
  EXPECT_EQ(grant->deadline, kNow.boot + absl::Hours(1));
  EXPECT_EQ(grant->state, GrantState::kActive);
  EXPECT_EQ(grant->on_expiry, OnExpiry::kKeep);
  EXPECT_EQ(grant->created_by, "spiffe://example.org/controller");
  EXPECT_EQ(grant->requestor, "alice");
}

TEST_F(DecideTest, TheEarlierEndWins) {
  GrantRequest request = Request(1);
  request.not_after = kWall + absl::Minutes(20);
  EXPECT_EQ(Create(request)->deadline, kNow.boot + absl::Minutes(20));
  request.not_after = kWall + absl::Hours(20);
  EXPECT_EQ(Create(request)->deadline, kNow.boot + absl::Hours(1));
}

TEST_F(DecideTest, TheConfiguredDefaultDecidesOnExpiryOnlyWhereTheGrantDoesNot) {
  limits_.on_expiry = OnExpiry::kReset;
  GrantRequest request = Request(1);
  EXPECT_EQ(Create(request)->on_expiry, OnExpiry::kReset);
  request.on_expiry = OnExpiry::kCut;
  EXPECT_EQ(Create(request)->on_expiry, OnExpiry::kCut);
}

struct Refusal {
  const char* name;
  std::function<void(GrantRequest&)> spoil;
  absl::StatusCode code;
  const char* message;
  const char* field = "";
};

const Refusal kRefusals[] = {
    {"no_id", [](GrantRequest& r) { r.id = ""; }, absl::StatusCode::kInvalidArgument,
     "is not a UUID", "id"},
    {"malformed_id", [](GrantRequest& r) { r.id = "grant-1"; }, absl::StatusCode::kInvalidArgument,
     "is not a UUID", "id"},
    {"no_sources", [](GrantRequest& r) { r.sources.clear(); }, absl::StatusCode::kInvalidArgument,
     "at least one address", "source_prefixes"},
    {"too_many_sources", [](GrantRequest& r) { r.sources.resize(10'000, P("203.0.113.7")); },
     absl::StatusCode::kInvalidArgument, "10000 entries; a grant takes at most 64",
     "source_prefixes"},
    {"no_ports", [](GrantRequest& r) { r.ports.clear(); }, absl::StatusCode::kInvalidArgument,
     "at least one port", "ports"},
    {"too_many_ports", [](GrantRequest& r) { r.ports.resize(65, Tcp(22)); },
     absl::StatusCode::kInvalidArgument, "65 entries", "ports"},
    {"port_zero", [](GrantRequest& r) { r.ports = {Tcp(0)}; }, absl::StatusCode::kInvalidArgument,
     "1 to 65535", "ports"},
    {"no_protocol", [](GrantRequest& r) { r.ports = {Port{.number = 22}}; },
     absl::StatusCode::kInvalidArgument, "no protocol", "ports"},
    {"unguarded_port", [](GrantRequest& r) { r.ports = {Tcp(8022)}; },
     absl::StatusCode::kFailedPrecondition,
     "port 8022 is not guarded; agent.yaml lists 22, 3389, 5985, 5986"},
    {"zero_duration", [](GrantRequest& r) { r.duration = absl::ZeroDuration(); },
     absl::StatusCode::kInvalidArgument, "greater than zero", "duration"},
    {"negative_duration", [](GrantRequest& r) { r.duration = -absl::Seconds(1); },
     absl::StatusCode::kInvalidArgument, "greater than zero", "duration"},
    {"too_long", [](GrantRequest& r) { r.duration = absl::Hours(3) + absl::Seconds(1); },
     absl::StatusCode::kFailedPrecondition, "this host allows 3h"},
    {"endless", [](GrantRequest& r) { r.duration = absl::InfiniteDuration(); },
     absl::StatusCode::kFailedPrecondition, "this host allows 3h"},
    {"end_in_the_past", [](GrantRequest& r) { r.not_after = kWall - absl::Seconds(1); },
     absl::StatusCode::kInvalidArgument, "not ahead of this host's clock", "not_after"},
    {"end_now", [](GrantRequest& r) { r.not_after = kWall; }, absl::StatusCode::kInvalidArgument,
     "not ahead", "not_after"},
    {"too_wide", [](GrantRequest& r) { r.sources = {P("0.0.0.0/0")}; },
     absl::StatusCode::kFailedPrecondition, "takes prefixes of /8 and longer"},
    {"too_wide_ipv6", [](GrantRequest& r) { r.sources = {P("2000::/3")}; },
     absl::StatusCode::kFailedPrecondition, "takes prefixes of /16 and longer"},
    {"huge_justification", [](GrantRequest& r) { r.justification.assign(10'000'000, 'x'); },
     absl::StatusCode::kInvalidArgument, "10000000 bytes; at most 4096", "justification"},
    {"justification_not_utf8", [](GrantRequest& r) { r.justification = "\xff"; },
     absl::StatusCode::kInvalidArgument, "not UTF-8", "justification"},
    {"huge_requestor", [](GrantRequest& r) { r.requestor.assign(257, 'x'); },
     absl::StatusCode::kInvalidArgument, "at most 256", "requestor"},
};

class RefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, SaysWhatIsWrongAndWhere) {
  GrantRequest request = Request(1);
  GetParam().spoil(request);
  const Limits limits;
  const absl::Status status =
      DecideCreate(request, "x", {.limits = limits, .now = kNow, .live_grants = 0}).status();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
  EXPECT_EQ(FieldOf(status), GetParam().field);
}

INSTANTIATE_TEST_SUITE_P(Create, RefusalTest, ::testing::ValuesIn(kRefusals),
                         [](const auto& refusal) { return std::string(refusal.param.name); });

TEST_F(DecideTest, LimitsAreTheHosts) {
  limits_.allowed_sources = {P("10.0.0.0/8")};
  limits_.allowed_ports = {3389};
  GrantRequest request = Request(1);
  request.ports = {Tcp(3389)};
  EXPECT_THAT(std::string(Create(request).status().message()),
              HasSubstr("203.0.113.7/32 is outside"));
  request.sources = {P("10.9.8.7")};
  EXPECT_TRUE(Create(request).ok());
  request.ports = {Tcp(22)};
  EXPECT_THAT(std::string(Create(request).status().message()),
              HasSubstr("port 22 are not allowed here; limits.allowed_ports lists 3389"));
}

TEST_F(DecideTest, TheNumberOfLiveGrantsIsBounded) {
  limits_.max_live_grants = 2;
  EXPECT_TRUE(Create(Request(1), 1).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Create(Request(1), 2).status()));
}

TEST_F(DecideTest, ARepeatMustAskForTheSame) {
  const Grant grant = *Create(Request(1));
  EXPECT_TRUE(DecideRepeat(Request(1), grant).ok());
  GrantRequest other = Request(1);
  other.ports = {Tcp(3389)};
  EXPECT_TRUE(absl::IsAlreadyExists(DecideRepeat(other, grant)));
}

TEST_F(DecideTest, AnExtensionAddsToThePresentEnd) {
  const Grant grant = *Create(Request(1));
  const absl::StatusOr<Grant> extended = DecideExtend(grant, absl::Minutes(30), Context());
  ASSERT_TRUE(extended.ok()) << extended.status();
  EXPECT_EQ(extended->end, grant.end + absl::Minutes(30));
  EXPECT_EQ(extended->deadline, grant.deadline + absl::Minutes(30));
  EXPECT_EQ(extended->duration, absl::Minutes(90));
  EXPECT_EQ(extended->start, grant.start);
}

TEST_F(DecideTest, AnExtensionStaysWithinTheLimitFromTheStart) {
  const Grant grant = *Create(Request(1));
  EXPECT_TRUE(DecideExtend(grant, absl::Hours(2), Context()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      DecideExtend(grant, absl::Hours(2) + absl::Seconds(1), Context()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      DecideExtend(grant, absl::InfiniteDuration(), Context()).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(DecideExtend(grant, absl::ZeroDuration(), Context()).status()));
}

TEST_F(DecideTest, AnExtensionStaysWithinTheAbsoluteEndThatWasAskedFor) {
  GrantRequest request = Request(1);
  request.not_after = kWall + absl::Minutes(70);
  const Grant grant = *Create(request);
  EXPECT_TRUE(DecideExtend(grant, absl::Minutes(10), Context()).ok());
  EXPECT_TRUE(
      absl::IsFailedPrecondition(DecideExtend(grant, absl::Minutes(11), Context()).status()));
}

TEST_F(DecideTest, AMoveChangesTheSourcesAlone) {
  const Grant grant = *Create(Request(1));
  const absl::StatusOr<Grant> moved = DecideMove(grant, {P("198.51.100.9")}, Context());
  ASSERT_TRUE(moved.ok()) << moved.status();
  Grant expected = grant;
  expected.sources = {P("198.51.100.9")};
  expected.earlier_sources = {P("203.0.113.7")};
  EXPECT_EQ(*moved, expected);
  EXPECT_TRUE(absl::IsInvalidArgument(DecideMove(grant, {}, Context()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(DecideMove(grant, {P("0.0.0.0/0")}, Context()).status()));
}

TEST_F(DecideTest, AMovedGrantRemembersTheSourcesThatItHasLeftOnce) {
  Grant grant = *Create(Request(1));
  EXPECT_EQ(*DecideMove(grant, grant.sources, Context()), grant);
  for (const char* next : {"198.51.100.9", "203.0.113.7", "198.51.100.9", "198.51.100.10"}) {
    grant = *DecideMove(grant, {P(next)}, Context());
  }
  EXPECT_THAT(grant.earlier_sources, ElementsAre(P("198.51.100.9"), P("203.0.113.7")));
  EXPECT_THAT(SessionKeysOf(grant), ElementsAre(Key("198.51.100.9", 22), Key("198.51.100.10", 22),
                                                Key("203.0.113.7", 22)));
  EXPECT_THAT(KeysOf(grant), ElementsAre(Key("198.51.100.10", 22)));
}

TEST_F(DecideTest, AGrantLeavesOnlySoManySources) {
  Grant grant = *Create(Request(1));
  for (size_t i = 0; i < kMaxEarlierSources; ++i) {
    grant = *DecideMove(grant, {P(absl::StrCat("198.51.", i / 256, ".", i % 256))}, Context());
  }
  EXPECT_THAT(grant.earlier_sources, SizeIs(kMaxEarlierSources));
  const absl::Status refused = DecideMove(grant, {P("198.51.100.9")}, Context()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("revoke it and create a new one"));
  // Back to one of them is one less.
  EXPECT_TRUE(DecideMove(grant, {P("198.51.0.0")}, Context()).ok());
}

TEST_F(DecideTest, AnEndIsRecordedWithItsCause) {
  const Grant grant = *Create(Request(1));
  const Grant expired = Expired(grant);
  EXPECT_EQ(expired.state, GrantState::kExpired);
  EXPECT_EQ(expired.end, grant.end);
  const Now later = {.boot = kNow.boot + absl::Minutes(1), .wall = kWall + absl::Minutes(1)};
  const Grant revoked = Revoked(grant, "revoked by bob", later);
  EXPECT_EQ(revoked.state, GrantState::kRevoked);
  EXPECT_EQ(revoked.end, later.wall);
  EXPECT_EQ(revoked.end_cause, "revoked by bob");
}

}  // namespace
}  // namespace postern
