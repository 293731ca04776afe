// The lines of the journal: whoever filters by their fields relies on these.

#include "agent/app/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/time/civil_time.h"
#include "postern/v1/agent.pb.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using testing::ElementsAre;
using testing::Pair;

AuditEvent GrantEvent(AuditKind kind) {
  AuditEvent event;
  event.number = 7;
  event.kind = kind;
  event.actor = "gateway.example";
  event.grant_id = Id(1);
  event.requestor = "alice";
  event.sources = {P("203.0.113.7"), P("2001:db8::/64")};
  event.ports = {Tcp(22), Any(3389)};
  event.end = absl::FromCivil(absl::CivilSecond(2026, 1, 2, 15, 4, 5), absl::UTCTimeZone());
  return event;
}

AuditEvent GateEvent(AuditKind kind, const std::string& detail) {
  AuditEvent event;
  event.number = 8;
  event.kind = kind;
  event.actor = "local";
  event.detail = detail;
  return event;
}

// ---- Kinds

std::vector<AuditKind> AllAuditKinds() {
  std::vector<AuditKind> kinds;
  for (int number = v1::AuditKind_MIN + 1; number <= v1::AuditKind_MAX; ++number) {
    kinds.push_back(static_cast<AuditKind>(number));
  }
  return kinds;
}

TEST(JournalKindTest, AnAuditEventHasItsNameInTheApi) {
  for (const AuditKind kind : AllAuditKinds()) {
    EXPECT_EQ(KindOf(kind).event, v1::AuditKind_Name(static_cast<v1::AuditKind>(kind)));
  }
}

TEST(JournalKindTest, NoTwoShareAnIdOrAName) {
  std::vector<JournalKind> kinds = {kAccessDenied, kGateMade, kSessionUncovered, kReloadRefused,
                                    kAgentFailed};
  for (const AuditKind kind : AllAuditKinds()) kinds.push_back(KindOf(kind));
  std::set<std::string> ids;
  std::set<std::string> names;
  for (const JournalKind& kind : kinds) {
    EXPECT_TRUE(ids.insert(kind.message_id).second) << kind.event;
    EXPECT_TRUE(names.insert(kind.event).second) << kind.event;
  }
}

// People and programs that filter by them outlive this version.
TEST(JournalKindTest, TheIdsOfAGrantsLifeAreAsTheyEverWere) {
  EXPECT_STREQ(KindOf(AuditKind::kGrantCreated).message_id, "69b5359686dd4ff5814de5197e62f1a1");
  EXPECT_STREQ(KindOf(AuditKind::kGrantRevoked).message_id, "89aefeffa2914296b8b9f61bb19aa38e");
  EXPECT_STREQ(KindOf(AuditKind::kGrantExpired).message_id, "65378f09756d43d8b755f2d3e7d92d5e");
}

// ---- Grants

struct GrantKind {
  AuditKind kind;
  const char* event;
  const char* verb;
  Priority priority;
};

class GrantLineTest : public testing::TestWithParam<GrantKind> {};

TEST_P(GrantLineTest, HasTheGrantWithEachSourceAndPort) {
  const LogLine line = LineOf(GrantEvent(GetParam().kind));
  EXPECT_THAT(
      line.fields,
      ElementsAre(Pair("MESSAGE_ID", KindOf(GetParam().kind).message_id),
                  Pair("POSTERN_EVENT", GetParam().event), Pair("POSTERN_NUMBER", "7"),
                  Pair("POSTERN_ACTOR", "gateway.example"), Pair("POSTERN_GRANT_ID", Id(1)),
                  Pair("POSTERN_REQUESTOR", "alice"), Pair("POSTERN_SOURCE", "203.0.113.7/32"),
                  Pair("POSTERN_SOURCE", "2001:db8::/64"), Pair("POSTERN_PORT", "22/tcp"),
                  Pair("POSTERN_PORT", "3389/any")));
  EXPECT_EQ(line.message,
            absl::StrCat("grant ", Id(1), " ", GetParam().verb,
                         " by gateway.example: 203.0.113.7/32, 2001:db8::/64 to 22/tcp, 3389/any "
                         "until 2026-01-02T15:04:05Z for alice"));
  EXPECT_EQ(line.priority, GetParam().priority);
}

INSTANTIATE_TEST_SUITE_P(
    Journal, GrantLineTest,
    testing::Values(
        GrantKind{AuditKind::kGrantCreated, "GRANT_CREATED", "created", Priority::kInfo},
        GrantKind{AuditKind::kGrantExtended, "GRANT_EXTENDED", "extended", Priority::kInfo},
        GrantKind{AuditKind::kGrantMoved, "GRANT_MOVED", "moved", Priority::kInfo},
        GrantKind{AuditKind::kGrantRevoked, "GRANT_REVOKED", "revoked", Priority::kInfo},
        GrantKind{AuditKind::kGrantExpired, "GRANT_EXPIRED", "expired", Priority::kInfo},
        GrantKind{AuditKind::kGrantFailed, "GRANT_FAILED", "failed", Priority::kError}),
    [](const auto& suite) { return std::string(suite.param.verb); });

TEST(JournalTest, AGrantWithoutARequestorHasNoFieldForOne) {
  AuditEvent event = GrantEvent(AuditKind::kGrantCreated);
  event.requestor.clear();
  event.detail = "deploy 142";
  const LogLine line = LineOf(event);
  EXPECT_THAT(line.fields, testing::Not(testing::Contains(testing::Key("POSTERN_REQUESTOR"))));
  EXPECT_THAT(line.message, testing::EndsWith(" until 2026-01-02T15:04:05Z (deploy 142)"));
}

// ---- The gate

struct GateKind {
  AuditKind kind;
  const char* event;
  const char* words;
  Priority priority;
};

class GateLineTest : public testing::TestWithParam<GateKind> {};

TEST_P(GateLineTest, HasWhoDidIt) {
  const LogLine line = LineOf(GateEvent(GetParam().kind, "as it was asked"));
  EXPECT_THAT(line.fields,
              ElementsAre(Pair("MESSAGE_ID", KindOf(GetParam().kind).message_id),
                          Pair("POSTERN_EVENT", GetParam().event), Pair("POSTERN_NUMBER", "8"),
                          Pair("POSTERN_ACTOR", "local")));
  EXPECT_EQ(line.message,
            absl::StrCat("the gate: ", GetParam().words, " by local: as it was asked"));
  EXPECT_EQ(line.priority, GetParam().priority);
}

INSTANTIATE_TEST_SUITE_P(
    Journal, GateLineTest,
    testing::Values(
        GateKind{AuditKind::kFirewallRepaired, "FIREWALL_REPAIRED", "firewall repaired",
                 Priority::kWarning},
        GateKind{AuditKind::kClockChanged, "CLOCK_CHANGED", "clock changed", Priority::kNotice},
        GateKind{AuditKind::kLockedDown, "LOCKED_DOWN", "locked down", Priority::kWarning},
        GateKind{AuditKind::kLockdownLifted, "LOCKDOWN_LIFTED", "lockdown lifted",
                 Priority::kNotice},
        GateKind{AuditKind::kArmed, "ARMED", "armed", Priority::kNotice},
        GateKind{AuditKind::kConfirmed, "CONFIRMED", "confirmed", Priority::kNotice},
        GateKind{AuditKind::kDisarmed, "DISARMED", "disarmed", Priority::kWarning},
        GateKind{AuditKind::kLedgerReplaced, "LEDGER_REPLACED", "ledger replaced",
                 Priority::kError},
        GateKind{AuditKind::kGrantsRestored, "GRANTS_RESTORED", "grants restored",
                 Priority::kNotice}),
    [](const auto& suite) { return std::string(suite.param.event); });

// ---- What the audit does not hold

class AgentLineTest : public testing::TestWithParam<JournalKind> {};

TEST_P(AgentLineTest, IsFoundByItsIdAndName) {
  EXPECT_EQ(LineOf(GetParam(), "what happened"),
            (LogLine{.priority = GetParam().priority,
                     .message = "what happened",
                     .fields = {{"MESSAGE_ID", GetParam().message_id},
                                {"POSTERN_EVENT", GetParam().event}}}));
}

INSTANTIATE_TEST_SUITE_P(Journal, AgentLineTest,
                         testing::Values(KindOf(AuditKind::kAgentStarted),
                                         KindOf(AuditKind::kAgentStopped),
                                         KindOf(AuditKind::kConfigReloaded), kGateMade,
                                         kReloadRefused, kAgentFailed),
                         [](const auto& suite) { return std::string(suite.param.event); });

TEST(JournalTest, AKnockIsFoundByItsSourceAndPort) {
  const LogLine line = DeniedLine(Key("203.0.113.7", 22, Protocol::kUdp), /*enforced=*/true);
  EXPECT_THAT(line.fields, ElementsAre(Pair("MESSAGE_ID", kAccessDenied.message_id),
                                       Pair("POSTERN_EVENT", "ACCESS_DENIED"),
                                       Pair("POSTERN_SOURCE", "203.0.113.7/32"),
                                       Pair("POSTERN_PORT", "22/udp")));
  EXPECT_EQ(line.message, "denied: 203.0.113.7 knocked on 22/udp and no grant covers it");
  EXPECT_THAT(DeniedLine(Key("203.0.113.7", 22), /*enforced=*/false).message,
              testing::StartsWith("let through, as the mode is observe: 203.0.113.7 "));
}

TEST(JournalTest, ASessionThatNoGrantCoversIsFoundByItsSourceAndPort) {
  const LogLine line = UncoveredLine({.remote = A("2001:db8::7"),
                                      .remote_port = 50'000,
                                      .local = A("2001:db8::1"),
                                      .local_port = 22});
  EXPECT_THAT(line.fields, ElementsAre(Pair("MESSAGE_ID", kSessionUncovered.message_id),
                                       Pair("POSTERN_EVENT", "SESSION_UNCOVERED"),
                                       Pair("POSTERN_SOURCE", "2001:db8::7/128"),
                                       Pair("POSTERN_PORT", "22/tcp")));
}

}  // namespace
}  // namespace postern
