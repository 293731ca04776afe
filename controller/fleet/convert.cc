#include "controller/fleet/convert.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"
#include "common/uuid.h"

namespace postern::controller {
namespace {

constexpr int kMaxGrants = 10'000;
constexpr size_t kMaxTextBytes = 4096;
constexpr int kMaxPorts = 64;

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp result;
  const int64_t seconds = absl::ToUnixSeconds(time);
  result.set_seconds(seconds);
  result.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return result;
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration result;
  absl::Duration rest;
  result.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  result.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return result;
}

v1::Protocol ToProto(RuleProtocol protocol) {
  switch (protocol) {
    case RuleProtocol::kTcp:
      return v1::TCP;
    case RuleProtocol::kUdp:
      return v1::UDP;
    case RuleProtocol::kAny:
      return v1::ANY;
  }
  return v1::PROTOCOL_UNSPECIFIED;
}

v1::OnExpiry ToProto(PolicyOnExpiry on_expiry) {
  switch (on_expiry) {
    case PolicyOnExpiry::kUnset:
      return v1::ON_EXPIRY_UNSPECIFIED;
    case PolicyOnExpiry::kKeep:
      return v1::KEEP;
    case PolicyOnExpiry::kCut:
      return v1::CUT;
    case PolicyOnExpiry::kReset:
      return v1::RESET;
  }
  return v1::ON_EXPIRY_UNSPECIFIED;
}

v1::WantedGrant ToProto(const WantedGrant& grant, absl::Time now) {
  v1::WantedGrant result;
  result.set_id(grant.id);
  for (const Prefix& prefix : grant.sources.prefixes) {
    result.add_source_prefixes(prefix.ToString());
  }
  if (grant.sources.any()) {
    result.add_source_prefixes("0.0.0.0/0");
    result.add_source_prefixes("::/0");
  }
  v1::Port* port = result.add_ports();
  port->set_number(grant.port);
  port->set_protocol(ToProto(grant.protocol));
  *result.mutable_remaining() = ToProto(grant.end - now);
  *result.mutable_not_after() = ToProto(grant.end);
  result.set_requestor(grant.requestor);
  result.set_justification(grant.justification);
  result.set_on_expiry(ToProto(grant.on_expiry));
  return result;
}

absl::StatusOr<ReportedState> StateOf(v1::GrantState state) {
  switch (state) {
    case v1::GRANT_STATE_UNSPECIFIED:
      return ReportedState::kNotMade;
    case v1::ACTIVE:
      return ReportedState::kActive;
    case v1::EXPIRED:
      return ReportedState::kExpired;
    case v1::REVOKED:
      return ReportedState::kRevoked;
    case v1::SUPERSEDED:
      return ReportedState::kSuperseded;
    default:
      return absl::InvalidArgumentError("a report has a state that this controller does not know");
  }
}

std::optional<absl::Time> OptionalTime(bool has, const google::protobuf::Timestamp& time) {
  if (!has) return std::nullopt;
  return FromProto(time);
}

absl::StatusOr<ReportedGrant> ReportedOf(const v1::GrantReport& report) {
  ReportedGrant grant;
  POSTERN_ASSIGN_OR_RETURN(grant.id, ParseUuid(report.id()));
  POSTERN_ASSIGN_OR_RETURN(grant.state, StateOf(report.state()));
  if (report.reason().size() > kMaxTextBytes || report.mapped_ports_size() > kMaxPorts) {
    return absl::InvalidArgumentError(absl::StrCat("the report of ", grant.id, " is too long"));
  }
  grant.reason = Printable(report.reason());
  grant.start = OptionalTime(report.has_start_time(), report.start_time());
  grant.end = OptionalTime(report.has_end_time(), report.end_time());
  const v1::Usage& usage = report.usage();
  grant.packets = usage.packets();
  grant.bytes = usage.bytes();
  grant.first_used = OptionalTime(usage.has_first_used(), usage.first_used());
  grant.last_used = OptionalTime(usage.has_last_used(), usage.last_used());
  // A request's port is one grant.
  if (report.mapped_ports_size() > 0) {
    if (report.mapped_ports(0).mapped() - 1 > 65534) {
      return absl::InvalidArgumentError(absl::StrCat("a mapped port of ", grant.id, " is no port"));
    }
    grant.mapped_port = static_cast<uint16_t>(report.mapped_ports(0).mapped());
  }
  grant.revision = static_cast<int64_t>(report.revision());
  return grant;
}

}  // namespace

v1::WantedState ToProto(const Wanted& wanted, absl::Time now) {
  v1::WantedState state;
  state.set_revision(static_cast<uint64_t>(wanted.revision));
  for (const WantedGrant& grant : wanted.grants) *state.add_grants() = ToProto(grant, now);
  for (const Withdrawn& gone : wanted.withdrawn) {
    v1::Withdrawal* withdrawal = state.add_withdrawn();
    withdrawal->set_id(gone.id);
    withdrawal->set_reason(gone.reason);
    withdrawal->set_keep_sessions(gone.keep_sessions);
    withdrawal->set_superseded(gone.superseded);
  }
  return state;
}

absl::StatusOr<AgentFacts> FactsOf(const v1::AgentHello& hello, absl::Time now) {
  constexpr size_t kMaxNameBytes = 256;
  if (hello.version().size() > kMaxNameBytes || hello.hostname().size() > kMaxNameBytes ||
      hello.guarded_ports_size() > kMaxPorts) {
    return absl::InvalidArgumentError("what the agent says of itself is too long");
  }
  AgentFacts facts{.version = Printable(hello.version()),
                   .hostname = Printable(hello.hostname()),
                   .enforces = hello.enforces()};
  for (const uint32_t port : hello.guarded_ports()) {
    if (port == 0 || port > 65535) return absl::InvalidArgumentError("a guarded port is no port");
    facts.guarded_ports.push_back(static_cast<uint16_t>(port));
  }
  facts.max_duration = absl::Seconds(hello.max_duration().seconds());
  if (hello.has_clock()) facts.clock_skew = FromProto(hello.clock()) - now;
  return facts;
}

absl::StatusOr<Report> ReportOf(const v1::AppliedState& applied) {
  if (applied.grants_size() > kMaxGrants) {
    return absl::InvalidArgumentError(
        absl::StrCat("a report has ", applied.grants_size(), " grants; the most is ", kMaxGrants));
  }
  Report report{.revision = static_cast<int64_t>(applied.revision())};
  for (const v1::GrantReport& one : applied.grants()) {
    POSTERN_ASSIGN_OR_RETURN(ReportedGrant grant, ReportedOf(one));
    report.grants.push_back(std::move(grant));
  }
  return report;
}

}  // namespace postern::controller
