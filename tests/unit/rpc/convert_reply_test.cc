#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "agent/rpc/convert.h"

namespace postern {
namespace {

constexpr char kId[] = "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11";

Prefix ToPrefix(const char* text) { return Prefix::Parse(text).value(); }

TEST(Replies, AGrantIsToldWhole) {
  const absl::Time start = absl::FromUnixSeconds(1'000);
  const Grant grant{
      .id = kId,
      .sequence = 7,
      .sources = {ToPrefix("203.0.113.7/32")},
      .earlier_sources = {},
      .ports = {{.number = 22, .tcp = true, .udp = false},
                {.number = 23, .tcp = true, .udp = true}},
      .duration = absl::Seconds(90) + absl::Milliseconds(250),
      .not_after = start + absl::Hours(1),
      .requestor = "ada",
      .justification = "why",
      .on_expiry = OnExpiry::kReset,
      .created_by = "local",
      .request_fingerprint = "not told",
      .state = GrantState::kRevoked,
      .start = start,
      .end = start + absl::Milliseconds(1500),
      .deadline = {},
      .boot_id = "not told",
      .end_cause = "revoked by local",
      .usage = {.packets = 3, .bytes = 180, .first_used = start, .last_used = std::nullopt},
      .clock_skew = -absl::Seconds(2),
  };
  v1::Grant expected;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"(id: "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11"
         source_prefixes: "203.0.113.7/32"
         ports { number: 22 protocol: TCP }
         ports { number: 23 protocol: ANY }
         duration { seconds: 90 nanos: 250000000 }
         not_after { seconds: 4600 }
         requestor: "ada" justification: "why" on_expiry: RESET state: REVOKED
         start_time { seconds: 1000 }
         end_time { seconds: 1001 nanos: 500000000 }
         end_cause: "revoked by local" created_by: "local"
         usage { packets: 3 bytes: 180 first_used { seconds: 1000 } }
         clock_skew { seconds: -2 })",
      &expected));
  EXPECT_EQ(ToProto(grant).DebugString(), expected.DebugString());
}

TEST(Replies, AnEventIsToldWhole) {
  const AuditEvent event{.number = 12,
                         .time = absl::UnixEpoch() - absl::Milliseconds(250),
                         .kind = AuditKind::kGrantMoved,
                         .actor = "local",
                         .grant_id = kId,
                         .requestor = "ada",
                         .sources = {ToPrefix("::/0")},
                         .ports = {{.number = 22, .tcp = false, .udp = true}},
                         .end = absl::FromUnixSeconds(5),
                         .detail = "why"};
  v1::AuditEvent expected;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"(number: 12
         time { seconds: -1 nanos: 750000000 }
         kind: GRANT_MOVED actor: "local"
         grant_id: "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11"
         requestor: "ada"
         source_prefixes: "::/0"
         ports { number: 22 protocol: UDP }
         end_time { seconds: 5 }
         detail: "why")",
      &expected));
  EXPECT_EQ(ToProto(event).DebugString(), expected.DebugString());
}

TEST(Replies, EachKindOfEventHasItsName) {
  const struct {
    AuditKind ours;
    v1::AuditKind theirs;
  } kKinds[] = {
      {AuditKind::kGrantCreated, v1::GRANT_CREATED},
      {AuditKind::kGrantExtended, v1::GRANT_EXTENDED},
      {AuditKind::kGrantMoved, v1::GRANT_MOVED},
      {AuditKind::kGrantRevoked, v1::GRANT_REVOKED},
      {AuditKind::kGrantExpired, v1::GRANT_EXPIRED},
      {AuditKind::kGrantFailed, v1::GRANT_FAILED},
      {AuditKind::kAgentStarted, v1::AGENT_STARTED},
      {AuditKind::kAgentStopped, v1::AGENT_STOPPED},
      {AuditKind::kConfigReloaded, v1::CONFIG_RELOADED},
  };
  for (const auto& kind : kKinds) {
    AuditEvent event;
    event.kind = kind.ours;
    EXPECT_EQ(ToProto(event).kind(), kind.theirs);
  }
}

TEST(Replies, TimesAndDurationsComeBack) {
  for (const absl::Duration duration :
       {absl::Nanoseconds(1), absl::Seconds(-1) - absl::Nanoseconds(1), absl::Hours(24 * 3650)}) {
    EXPECT_EQ(FromProto(ToProto(duration)).value(), duration);
    const absl::Time time = absl::UnixEpoch() + duration;
    EXPECT_EQ(FromProto(ToProto(time)).value(), time);
  }
}

}  // namespace
}  // namespace postern
