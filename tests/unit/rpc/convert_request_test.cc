#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/grants/limits.h"
#include "agent/rpc/convert.h"
#include "agent/rpc/errors.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kId[] = "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11";

Prefix ToPrefix(const char* text) { return Prefix::Parse(text).value(); }

v1::CreateGrantRequest GoodCreate() {
  v1::CreateGrantRequest request;
  request.set_id(kId);
  request.add_source_prefixes("203.0.113.7");
  v1::Port& port = *request.add_ports();
  port.set_number(22);
  port.set_protocol(v1::TCP);
  request.mutable_duration()->set_seconds(3600);
  request.set_requestor("ada");
  request.set_justification("deploy 142");
  return request;
}

// The fields that a refusal names, and its descriptions.
struct Refusal {
  std::string fields;
  std::string text;
};
Refusal RefusalOf(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(ToGrpcStatus(status).error_details()));
  google::rpc::BadRequest bad_request;
  if (details.details().size() != 1 || !details.details(0).UnpackTo(&bad_request)) return {};
  std::vector<std::string> fields;
  Refusal refusal;
  for (const auto& violation : bad_request.field_violations()) {
    fields.push_back(violation.field());
    absl::StrAppend(&refusal.text, violation.description(), "\n");
  }
  refusal.fields = absl::StrJoin(fields, " ");
  return refusal;
}

TEST(CreateGrantRequest, BecomesAGrantRequest) {
  v1::CreateGrantRequest request = GoodCreate();
  request.set_id("6F0C1D52-3C44-4B0E-9A53-0D2F1B7A8C11");
  request.add_source_prefixes("2001:db8::/64");
  v1::Port& port = *request.add_ports();
  port.set_number(3389);
  port.set_protocol(v1::ANY);
  request.mutable_duration()->set_nanos(500'000'000);
  request.mutable_not_after()->set_seconds(1'772'366'400);
  request.mutable_not_after()->set_nanos(1);
  request.set_on_expiry(v1::CUT);

  const absl::StatusOr<GrantRequest> grant = FromProto(request, std::nullopt);
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(grant->id, kId);
  EXPECT_THAT(grant->sources, ElementsAre(ToPrefix("203.0.113.7/32"), ToPrefix("2001:db8::/64")));
  EXPECT_THAT(grant->ports, ElementsAre(Port{.number = 22, .tcp = true, .udp = false},
                                        Port{.number = 3389, .tcp = true, .udp = true}));
  EXPECT_EQ(grant->duration, absl::Seconds(3600) + absl::Milliseconds(500));
  EXPECT_EQ(grant->not_after, absl::FromUnixSeconds(1'772'366'400) + absl::Nanoseconds(1));
  EXPECT_EQ(grant->requestor, "ada");
  EXPECT_EQ(grant->justification, "deploy 142");
  EXPECT_EQ(grant->on_expiry, OnExpiry::kCut);
}

TEST(CreateGrantRequest, WhatIsLeftOutStaysOpen) {
  const absl::StatusOr<GrantRequest> grant = FromProto(GoodCreate(), std::nullopt);
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(grant->not_after, std::nullopt);
  EXPECT_EQ(grant->on_expiry, std::nullopt);
}

TEST(CreateGrantRequest, WithoutSourcesTheCallersAddressIsTaken) {
  v1::CreateGrantRequest request = GoodCreate();
  request.clear_source_prefixes();
  EXPECT_THAT(FromProto(request, *Address::Parse("2001:db8::1"))->sources,
              ElementsAre(ToPrefix("2001:db8::1/128")));
  const Refusal refusal = RefusalOf(FromProto(request, std::nullopt).status());
  EXPECT_EQ(refusal.fields, "source_prefixes");
  EXPECT_THAT(refusal.text, HasSubstr("--from"));
}

TEST(CreateGrantRequest, ControlCharactersArePartOfAText) {
  v1::CreateGrantRequest request = GoodCreate();
  request.set_justification(std::string("line\n\0\x1b[2J", 10));
  EXPECT_EQ(FromProto(request, std::nullopt)->justification, request.justification());
}

struct BadCreate {
  const char* name;
  std::function<void(v1::CreateGrantRequest&)> spoil;
  const char* fields;
  const char* text;
};

void SetDuration(v1::CreateGrantRequest& request, int64_t seconds, int32_t nanos) {
  request.mutable_duration()->set_seconds(seconds);
  request.mutable_duration()->set_nanos(nanos);
}

void SetNotAfter(v1::CreateGrantRequest& request, int64_t seconds, int32_t nanos) {
  request.mutable_not_after()->set_seconds(seconds);
  request.mutable_not_after()->set_nanos(nanos);
}

const BadCreate kBadCreates[] = {
    {"id absent", [](auto& r) { r.clear_id(); }, "id", "is required"},
    {"id malformed", [](auto& r) { r.set_id("42"); }, "id", "\"42\" is not a UUID"},
    {"id huge", [](auto& r) { r.set_id(std::string(100'000, 'x')); }, "id", "is not a UUID"},
    {"id with control characters", [](auto& r) { r.set_id("\x1b[2J"); }, "id", "\\x1b[2J"},
    {"host bits", [](auto& r) { r.set_source_prefixes(0, "203.0.113.7/24"); }, "source_prefixes[0]",
     "203.0.113.0/24"},
    {"unknown family", [](auto& r) { r.set_source_prefixes(0, "00-11-22-33-44-55"); },
     "source_prefixes[0]", "is not an IPv4 or IPv6 address"},
    {"length beyond the family", [](auto& r) { r.set_source_prefixes(0, "203.0.113.7/33"); },
     "source_prefixes[0]", "0 to 32"},
    {"a later source", [](auto& r) { r.add_source_prefixes(""); }, "source_prefixes[1]",
     "is not an IPv4 or IPv6 address"},
    {"10,000 sources",
     [](auto& r) {
       for (int i = 0; i < 9'999; ++i) r.add_source_prefixes("nonsense");
     },
     "source_prefixes", "has 10000 entries; a grant takes at most 64"},
    {"no ports", [](auto& r) { r.clear_ports(); }, "ports", "is empty"},
    {"too many ports",
     [](auto& r) {
       for (int i = 0; i < 64; ++i) *r.add_ports() = r.ports(0);
     },
     "ports", "has 65 entries"},
    {"port 0", [](auto& r) { r.mutable_ports(0)->set_number(0); }, "ports[0].number",
     "0 is not a port; ports are 1 to 65535"},
    {"port 65536", [](auto& r) { r.mutable_ports(0)->set_number(65'536); }, "ports[0].number",
     "65536 is not a port"},
    {"port that wraps", [](auto& r) { r.mutable_ports(0)->set_number(4'294'967'295U); },
     "ports[0].number", "4294967295"},
    {"protocol absent", [](auto& r) { r.mutable_ports(0)->clear_protocol(); }, "ports[0].protocol",
     "TCP, UDP or ANY"},
    {"protocol unknown",
     [](auto& r) { r.mutable_ports(0)->set_protocol(static_cast<v1::Protocol>(99)); },
     "ports[0].protocol", "99"},
    {"duration absent", [](auto& r) { r.clear_duration(); }, "duration", "is required"},
    {"duration zero", [](auto& r) { SetDuration(r, 0, 0); }, "duration", "greater than zero"},
    {"duration negative", [](auto& r) { SetDuration(r, -1, 0); }, "duration", "greater than zero"},
    {"duration a little negative", [](auto& r) { SetDuration(r, 0, -1); }, "duration",
     "greater than zero"},
    {"duration overflowing",
     [](auto& r) { SetDuration(r, std::numeric_limits<int64_t>::max(), 0); }, "duration",
     "beyond what a duration can be"},
    {"duration underflowing",
     [](auto& r) { SetDuration(r, std::numeric_limits<int64_t>::min(), 0); }, "duration",
     "beyond what a duration can be"},
    {"duration with too many nanos", [](auto& r) { SetDuration(r, 1, 1'000'000'000); }, "duration",
     "1000000000 nanos"},
    {"duration of two signs", [](auto& r) { SetDuration(r, 1, -1); }, "duration",
     "of the same sign"},
    {"not_after before the year 1", [](auto& r) { SetNotAfter(r, -62'135'596'801, 0); },
     "not_after", "years 1 to 9999"},
    {"not_after after the year 9999", [](auto& r) { SetNotAfter(r, 253'402'300'800, 0); },
     "not_after", "years 1 to 9999"},
    {"not_after at the end of int64",
     [](auto& r) { SetNotAfter(r, std::numeric_limits<int64_t>::max(), 0); }, "not_after",
     "years 1 to 9999"},
    {"not_after with negative nanos", [](auto& r) { SetNotAfter(r, 0, -1); }, "not_after",
     "-1 nanos"},
    {"not_after with too many nanos", [](auto& r) { SetNotAfter(r, 0, 1'000'000'000); },
     "not_after", "1000000000 nanos"},
    {"requestor too long",
     [](auto& r) { r.set_requestor(std::string(kMaxRequestorBytes + 1, 'x')); }, "requestor",
     "has 257 bytes; at most 256"},
    {"justification too long",
     [](auto& r) { r.set_justification(std::string(kMaxJustificationBytes + 1, 'x')); },
     "justification", "has 4097 bytes; at most 4096"},
    {"on_expiry unknown", [](auto& r) { r.set_on_expiry(static_cast<v1::OnExpiry>(9)); },
     "on_expiry", "KEEP, CUT or RESET"},
    {"all at once",
     [](auto& r) {
       r.clear_id();
       r.mutable_ports(0)->set_number(0);
       r.clear_duration();
       SetNotAfter(r, 0, -1);
     },
     "id ports[0].number duration not_after", "is required"},
};

TEST(CreateGrantRequest, WhatIsWrongIsNamed) {
  for (const BadCreate& bad : kBadCreates) {
    SCOPED_TRACE(bad.name);
    v1::CreateGrantRequest request = GoodCreate();
    bad.spoil(request);
    const Refusal refusal = RefusalOf(FromProto(request, std::nullopt).status());
    EXPECT_EQ(refusal.fields, bad.fields);
    EXPECT_THAT(refusal.text, HasSubstr(bad.text));
  }
}

TEST(CreateGrantRequest, TakesAsMuchAsTheBoundsSay) {
  v1::CreateGrantRequest request = GoodCreate();
  request.clear_source_prefixes();
  for (size_t i = 0; i < kMaxSourcesPerGrant; ++i) {
    request.add_source_prefixes(absl::StrCat("192.0.2.", i));
  }
  while (static_cast<size_t>(request.ports_size()) < kMaxPortsPerGrant) {
    *request.add_ports() = request.ports(0);
  }
  request.set_requestor(std::string(kMaxRequestorBytes, 'x'));
  request.set_justification(std::string(kMaxJustificationBytes, 'x'));
  SetDuration(request, 315'576'000'000, 999'999'999);
  SetNotAfter(request, 253'402'300'799, 999'999'999);
  EXPECT_TRUE(FromProto(request, std::nullopt).ok());
}

TEST(OtherRequests, WhatIsWrongIsNamed) {
  v1::ExtendGrantRequest extend;
  EXPECT_EQ(RefusalOf(FromProto(extend).status()).fields, "id duration");

  v1::MoveGrantRequest move;
  move.add_source_prefixes("nowhere");
  EXPECT_EQ(RefusalOf(FromProto(move, std::nullopt).status()).fields, "id source_prefixes[0]");
  move.clear_source_prefixes();
  EXPECT_EQ(RefusalOf(FromProto(move, std::nullopt).status()).fields, "id source_prefixes");

  v1::RevokeGrantRequest revoke;
  revoke.set_id(kId);
  revoke.set_reason(std::string(kMaxJustificationBytes + 1, 'x'));
  EXPECT_EQ(RefusalOf(FromProto(revoke).status()).fields, "reason");

  EXPECT_EQ(RefusalOf(FromProto(v1::GetGrantRequest()).status()).fields, "id");

  v1::CheckAccessRequest check;
  check.set_source_address("203.0.113.0/24");
  EXPECT_EQ(RefusalOf(FromProto(check).status()).fields,
            "source_address port.number port.protocol");

  v1::ListAuditEventsRequest audit;
  audit.mutable_since()->set_nanos(-1);
  EXPECT_EQ(RefusalOf(FromProto(audit).status()).fields, "since");
}

TEST(OtherRequests, BecomeOurs) {
  v1::ExtendGrantRequest extend;
  extend.set_id(kId);
  extend.mutable_duration()->set_seconds(60);
  EXPECT_EQ(FromProto(extend)->id, kId);
  EXPECT_EQ(FromProto(extend)->by, absl::Minutes(1));

  v1::MoveGrantRequest move;
  move.set_id(kId);
  EXPECT_THAT(FromProto(move, *Address::Parse("192.0.2.1"))->sources,
              ElementsAre(ToPrefix("192.0.2.1/32")));

  v1::RevokeGrantRequest revoke;
  revoke.set_id(kId);
  revoke.set_keep_sessions(true);
  revoke.set_reason("done");
  EXPECT_TRUE(FromProto(revoke)->keep_sessions);
  EXPECT_EQ(FromProto(revoke)->reason, "done");

  v1::CheckAccessRequest check;
  check.set_source_address("::ffff:203.0.113.7");
  check.mutable_port()->set_number(22);
  check.mutable_port()->set_protocol(v1::UDP);
  EXPECT_EQ(FromProto(check)->source, *Address::Parse("203.0.113.7"));
  EXPECT_EQ(FromProto(check)->port, (Port{.number = 22, .tcp = false, .udp = true}));
}

TEST(Paging, HasDefaultsAndBounds) {
  v1::ListGrantsRequest grants;
  EXPECT_EQ(FromProto(grants)->limit, kDefaultPageSize);
  EXPECT_EQ(FromProto(grants)->after, 0);
  grants.set_page_size(1000);
  grants.set_page_token("9223372036854775807");
  EXPECT_EQ(FromProto(grants)->limit, kMaxPageSize);
  EXPECT_EQ(FromProto(grants)->after, std::numeric_limits<int64_t>::max());

  for (const int size : {-1, 1001, std::numeric_limits<int>::min()}) {
    v1::ListAuditEventsRequest audit;
    audit.set_page_size(size);
    EXPECT_EQ(RefusalOf(FromProto(audit).status()).fields, "page_size") << size;
  }
  for (const char* token : {"0", "-1", "+1", "01", " 1", "1 ", "x", "1x", "0x1", "1.0",
                            "9223372036854775808", "99999999999999999999"}) {
    v1::ListGrantsRequest request;
    request.set_page_token(token);
    EXPECT_EQ(RefusalOf(FromProto(request).status()).fields, "page_token") << token;
  }
}

}  // namespace
}  // namespace postern
