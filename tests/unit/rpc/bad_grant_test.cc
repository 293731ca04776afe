// A CreateGrant that is wrong, all the way from its message to the kernel: it is
// refused with the code for it, and nothing has changed.

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "agent/rpc/convert.h"
#include "agent/rpc/errors.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

// For another source than the live grant's.
v1::CreateGrantRequest GoodCreate() {
  v1::CreateGrantRequest request;
  request.set_id(Id(2));
  request.add_source_prefixes("198.51.100.9");
  v1::Port& port = *request.add_ports();
  port.set_number(22);
  port.set_protocol(v1::TCP);
  request.mutable_duration()->set_seconds(3600);
  request.set_requestor("ada");
  return request;
}

struct BadGrant {
  const char* name;
  std::function<void(v1::CreateGrantRequest&)> spoil;
  grpc::StatusCode code;
  // INVALID_ARGUMENT names the field; other messages name the thing.
  const char* named;
};

const BadGrant kBadGrants[] = {
    {"HostBits", [](auto& r) { r.set_source_prefixes(0, "198.51.100.9/24"); },
     grpc::INVALID_ARGUMENT, "source_prefixes[0]"},
    {"HostBitsIpv6", [](auto& r) { r.add_source_prefixes("2001:db8::1/64"); },
     grpc::INVALID_ARGUMENT, "source_prefixes[1]"},
    {"UnknownFamily", [](auto& r) { r.set_source_prefixes(0, "00-11-22-33-44-55"); },
     grpc::INVALID_ARGUMENT, "source_prefixes[0]"},
    {"NoSources", [](auto& r) { r.clear_source_prefixes(); }, grpc::INVALID_ARGUMENT,
     "source_prefixes"},
    {"TenThousandSources",
     [](auto& r) {
       for (int i = 1; i < 10'000; ++i) {
         r.add_source_prefixes(absl::StrFormat("10.0.%d.%d", i / 256, i % 256));
       }
     },
     grpc::INVALID_ARGUMENT, "source_prefixes"},
    {"WiderThanAllowed", [](auto& r) { r.set_source_prefixes(0, "0.0.0.0/0"); },
     grpc::FAILED_PRECONDITION, "limits.shortest_prefix"},
    {"NoPorts", [](auto& r) { r.clear_ports(); }, grpc::INVALID_ARGUMENT, "ports"},
    {"Port0", [](auto& r) { r.mutable_ports(0)->set_number(0); }, grpc::INVALID_ARGUMENT,
     "ports[0].number"},
    // 22 in 16 bits.
    {"Port65558", [](auto& r) { r.mutable_ports(0)->set_number(65'536 + 22); },
     grpc::INVALID_ARGUMENT, "ports[0].number"},
    {"Port65536", [](auto& r) { r.mutable_ports(0)->set_number(65'536); }, grpc::INVALID_ARGUMENT,
     "ports[0].number"},
    {"UnguardedPort", [](auto& r) { r.mutable_ports(0)->set_number(8022); },
     grpc::FAILED_PRECONDITION, "port 8022 is not guarded; agent.yaml lists 22, 3389, 5985, 5986"},
    {"UnguardedPortAmongGuarded",
     [](auto& r) {
       *r.add_ports() = r.ports(0);
       r.mutable_ports(1)->set_number(8022);
     },
     grpc::FAILED_PRECONDITION, "port 8022 is not guarded"},
    {"UnknownProtocol",
     [](auto& r) { r.mutable_ports(0)->set_protocol(static_cast<v1::Protocol>(99)); },
     grpc::INVALID_ARGUMENT, "ports[0].protocol"},
    {"UnknownOnExpiry", [](auto& r) { r.set_on_expiry(static_cast<v1::OnExpiry>(99)); },
     grpc::INVALID_ARGUMENT, "on_expiry"},
    {"DurationAbsent", [](auto& r) { r.clear_duration(); }, grpc::INVALID_ARGUMENT, "duration"},
    {"DurationZero", [](auto& r) { r.mutable_duration()->set_seconds(0); }, grpc::INVALID_ARGUMENT,
     "duration"},
    {"DurationNegative", [](auto& r) { r.mutable_duration()->set_seconds(-3600); },
     grpc::INVALID_ARGUMENT, "duration"},
    {"DurationOverflowing", [](auto& r) { r.mutable_duration()->set_seconds(kMaxInt64); },
     grpc::INVALID_ARGUMENT, "duration"},
    {"DurationMalformed", [](auto& r) { r.mutable_duration()->set_nanos(1'000'000'000); },
     grpc::INVALID_ARGUMENT, "duration"},
    {"DurationBeyondTheLimit", [](auto& r) { r.mutable_duration()->set_seconds(3 * 3600 + 1); },
     grpc::FAILED_PRECONDITION, "limits.max_duration"},
    // The longest that protobuf knows: 10,000 years.
    {"DurationFarBeyondTheLimit",
     [](auto& r) { r.mutable_duration()->set_seconds(315'576'000'000); }, grpc::FAILED_PRECONDITION,
     "limits.max_duration"},
    // An absolute end does not make up for it.
    {"DurationBeyondTheLimitUntilSoon",
     [](auto& r) {
       r.mutable_duration()->set_seconds(4 * 3600);
       r.mutable_not_after()->set_seconds(absl::ToUnixSeconds(FakeClock().Read().wall) + 60);
     },
     grpc::FAILED_PRECONDITION, "limits.max_duration"},
    {"EndInThePast",
     [](auto& r) {
       r.mutable_not_after()->set_seconds(absl::ToUnixSeconds(FakeClock().Read().wall) - 1);
     },
     grpc::INVALID_ARGUMENT, "not_after"},
    {"EndInTheYear1", [](auto& r) { r.mutable_not_after()->set_seconds(-62'135'596'800); },
     grpc::INVALID_ARGUMENT, "not_after"},
    {"EndBeforeTheYear1", [](auto& r) { r.mutable_not_after()->set_seconds(-62'135'596'801); },
     grpc::INVALID_ARGUMENT, "not_after"},
    {"EndOverflowing", [](auto& r) { r.mutable_not_after()->set_seconds(kMaxInt64); },
     grpc::INVALID_ARGUMENT, "not_after"},
    {"EndMalformed",
     [](auto& r) {
       r.mutable_not_after()->set_seconds(absl::ToUnixSeconds(FakeClock().Read().wall) + 60);
       r.mutable_not_after()->set_nanos(-1);
     },
     grpc::INVALID_ARGUMENT, "not_after"},
    {"IdAbsent", [](auto& r) { r.clear_id(); }, grpc::INVALID_ARGUMENT, "id"},
    {"IdMalformed", [](auto& r) { r.set_id(Id(2) + "0"); }, grpc::INVALID_ARGUMENT, "id"},
    {"IdOfALiveGrant", [](auto& r) { r.set_id(Id(1)); }, grpc::ALREADY_EXISTS,
     "grant 00000000-0000-4000-8000-000000000001 exists with other content"},
    {"IdOfAnEndedGrant", [](auto& r) { r.set_id(Id(9)); }, grpc::ALREADY_EXISTS,
     "grant 00000000-0000-4000-8000-000000000009 exists with other content"},
    {"JustificationHuge", [](auto& r) { r.set_justification(std::string(10'000'000, 'x')); },
     grpc::INVALID_ARGUMENT, "justification"},
    {"RequestorHuge", [](auto& r) { r.set_requestor(std::string(10'000'000, 'x')); },
     grpc::INVALID_ARGUMENT, "requestor"},
};

// The field that the details of the answer name first.
std::string FieldIn(const grpc::Status& answer) {
  google::rpc::Status details;
  google::rpc::BadRequest bad_request;
  if (!details.ParseFromString(answer.error_details()) || details.details().empty() ||
      !details.details(0).UnpackTo(&bad_request) || bad_request.field_violations().empty()) {
    return "";
  }
  return bad_request.field_violations(0).field();
}

class BadGrantTest : public GateTest, public ::testing::WithParamInterface<BadGrant> {
 protected:
  // One live grant, which must not be touched, and one that has ended.
  void SetUp() override {
    GateTest::SetUp();
    ASSERT_TRUE(Create(9, "203.0.113.9", absl::Minutes(5)).ok());
    ASSERT_TRUE(Revoke(9).ok());
    ASSERT_TRUE(Create(1).ok());
  }

  // As the service does it.
  grpc::Status Ask(const v1::CreateGrantRequest& message) {
    absl::StatusOr<GrantRequest> request = FromProto(message, std::nullopt);
    if (!request.ok()) return ToGrpcStatus(request.status());
    return ToGrpcStatus(Do(CreateGrant{*std::move(request)}).status());
  }

  std::map<SetId, std::map<AccessKey, BootTime>> Installed() const {
    std::map<SetId, std::map<AccessKey, BootTime>> installed;
    for (const auto& [set, elements] : firewall_.table()->sets) {
      for (const auto& [key, element] : elements) installed[set].emplace(key, element.end);
    }
    return installed;
  }
};

INSTANTIATE_TEST_SUITE_P(CreateGrant, BadGrantTest, ::testing::ValuesIn(kBadGrants),
                         [](const auto& bad) { return std::string(bad.param.name); });

TEST_P(BadGrantTest, IsRefusedAndChangesNothing) {
  const auto grants = store_.grants();
  const std::vector<AuditEvent> audit = store_.audit();
  const int stored = store_.commits();
  const int programmed = firewall_.commits();
  const std::vector<Rule> rules = firewall_.table()->rules;
  const auto installed = Installed();
  const size_t announced = announced_.size();
  const size_t ended = sessions_.calls.size();
  const std::optional<BootTime> alarm = gatekeeper_->NextAlarm();

  v1::CreateGrantRequest request = GoodCreate();
  GetParam().spoil(request);
  const grpc::Status answer = Ask(request);

  EXPECT_EQ(answer.error_code(), GetParam().code) << answer.error_message();
  EXPECT_LE(answer.error_message().size(), kMaxMessageBytes);
  if (GetParam().code == grpc::INVALID_ARGUMENT) {
    EXPECT_EQ(FieldIn(answer), GetParam().named);
    EXPECT_THAT(answer.error_message(), StartsWith(GetParam().named));
  } else {
    EXPECT_THAT(answer.error_message(), HasSubstr(GetParam().named));
  }

  EXPECT_EQ(store_.grants(), grants);
  EXPECT_EQ(store_.audit(), audit);
  EXPECT_EQ(store_.commits(), stored);
  EXPECT_EQ(firewall_.commits(), programmed);
  EXPECT_EQ(firewall_.table()->rules, rules);
  EXPECT_EQ(Installed(), installed);
  EXPECT_EQ(announced_.size(), announced);
  EXPECT_EQ(sessions_.calls.size(), ended);
  EXPECT_EQ(gatekeeper_->NextAlarm(), alarm);
  EXPECT_EQ(gatekeeper_->live_grants(), 1U);
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));

  // Nor does a restart find any of it, and the id is still free.
  Restart();
  EXPECT_EQ(gatekeeper_->live_grants(), 1U);
  EXPECT_TRUE(Ask(GoodCreate()).ok());
  EXPECT_TRUE(Admits("198.51.100.9"));
}

}  // namespace
}  // namespace postern
