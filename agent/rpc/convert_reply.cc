#include "absl/strings/string_view.h"
#include "agent/rpc/convert.h"

namespace postern {
namespace {

v1::Protocol ProtocolOf(const Port& port) {
  if (port.tcp && port.udp) return v1::ANY;
  return port.tcp ? v1::TCP : v1::UDP;
}

template <typename Message>
void PutSources(const std::vector<Prefix>& sources, Message& message) {
  for (const Prefix& source : sources) message.add_source_prefixes(source.ToString());
}

template <typename Message>
void PutPorts(const std::vector<Port>& ports, Message& message) {
  for (const Port& port : ports) {
    v1::Port& added = *message.add_ports();
    added.set_number(port.number);
    added.set_protocol(ProtocolOf(port));
  }
}

v1::OnExpiry ExpiryToProto(OnExpiry on_expiry) {
  switch (on_expiry) {
    case OnExpiry::kKeep:
      return v1::KEEP;
    case OnExpiry::kCut:
      return v1::CUT;
    case OnExpiry::kReset:
      return v1::RESET;
  }
  return v1::ON_EXPIRY_UNSPECIFIED;
}

v1::GrantState StateToProto(GrantState state) {
  switch (state) {
    case GrantState::kActive:
      return v1::ACTIVE;
    case GrantState::kExpired:
      return v1::EXPIRED;
    case GrantState::kRevoked:
      return v1::REVOKED;
    case GrantState::kSuperseded:
      return v1::SUPERSEDED;
  }
  return v1::GRANT_STATE_UNSPECIFIED;
}

v1::Usage UsageToProto(const Usage& usage) {
  v1::Usage message;
  message.set_packets(usage.packets);
  message.set_bytes(usage.bytes);
  if (usage.first_used) *message.mutable_first_used() = ToProto(*usage.first_used);
  if (usage.last_used) *message.mutable_last_used() = ToProto(*usage.last_used);
  return message;
}

}  // namespace

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration message;
  message.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  message.set_nanos(static_cast<int32_t>(duration / absl::Nanoseconds(1)));
  return message;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp message;
  // ToUnixSeconds rounds down, so that the nanos are never negative.
  const int64_t seconds = absl::ToUnixSeconds(time);
  message.set_seconds(seconds);
  message.set_nanos(
      static_cast<int32_t>((time - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
  return message;
}

v1::Grant ToProto(const Grant& grant) {
  v1::Grant message;
  message.set_id(grant.id);
  PutSources(grant.sources, message);
  PutPorts(grant.ports, message);
  *message.mutable_duration() = ToProto(grant.duration);
  if (grant.not_after) *message.mutable_not_after() = ToProto(*grant.not_after);
  message.set_requestor(grant.requestor);
  message.set_justification(grant.justification);
  message.set_on_expiry(ExpiryToProto(grant.on_expiry));
  message.set_state(StateToProto(grant.state));
  *message.mutable_start_time() = ToProto(grant.start);
  *message.mutable_end_time() = ToProto(grant.end);
  message.set_end_cause(grant.end_cause);
  message.set_created_by(grant.created_by);
  *message.mutable_usage() = UsageToProto(grant.usage);
  if (grant.clock_skew) *message.mutable_clock_skew() = ToProto(*grant.clock_skew);
  return message;
}

v1::AuditEvent ToProto(const AuditEvent& event) {
  v1::AuditEvent message;
  message.set_number(event.number);
  *message.mutable_time() = ToProto(event.time);
  // The numbers are the same on both sides (agent/grants/audit.h).
  message.set_kind(static_cast<v1::AuditKind>(event.kind));
  message.set_actor(event.actor);
  message.set_grant_id(event.grant_id);
  message.set_requestor(event.requestor);
  PutSources(event.sources, message);
  PutPorts(event.ports, message);
  if (event.end) *message.mutable_end_time() = ToProto(*event.end);
  message.set_detail(event.detail);
  return message;
}

v1::CheckAccessResponse ToProto(const AccessAnswer& answer) {
  v1::CheckAccessResponse message;
  message.set_allowed(answer.allowed);
  message.set_grant_id(answer.grant_id);
  if (answer.end) *message.mutable_end_time() = ToProto(*answer.end);
  message.set_reason(answer.reason);
  return message;
}

v1::ListDeniedResponse ToProto(const DeniedAnswer& answer) {
  v1::ListDeniedResponse message;
  for (const DeniedSource& source : answer.sources) {
    v1::DeniedSource& added = *message.add_sources();
    added.set_source_address(source.source.ToString());
    added.mutable_port()->set_number(source.port);
    added.mutable_port()->set_protocol(source.protocol == Protocol::kTcp ? v1::TCP : v1::UDP);
    added.set_packets(source.packets.packets);
    added.set_bytes(source.packets.bytes);
    *added.mutable_last_seen() = ToProto(source.last_seen);
  }
  message.set_total(static_cast<uint32_t>(answer.total));
  message.set_let_through(!answer.enforced);
  *message.mutable_remembered_for() = ToProto(kDeniedFor);
  *message.mutable_now() = ToProto(answer.now);
  return message;
}

v1::LockdownState ToProto(const Lockdown& lockdown) {
  v1::LockdownState message;
  *message.mutable_since() = ToProto(lockdown.since);
  message.set_actor(lockdown.actor);
  message.set_reason(lockdown.reason);
  return message;
}

v1::ArmedState ToProto(const Armed& armed) {
  v1::ArmedState message;
  *message.mutable_since() = ToProto(armed.since);
  message.set_actor(armed.actor);
  if (armed.confirm_by) *message.mutable_confirm_by() = ToProto(armed.confirm_by->wall);
  return message;
}

v1::Finding ToProto(const Finding& finding) {
  v1::Finding message;
  switch (finding.severity) {
    case Severity::kNotice:
      message.set_severity(v1::NOTICE);
      break;
    case Severity::kWarning:
      message.set_severity(v1::WARNING);
      break;
    case Severity::kCritical:
      message.set_severity(v1::CRITICAL);
      break;
  }
  message.set_name(finding.name);
  message.set_finding(finding.finding);
  message.set_consequence(finding.consequence);
  message.set_remedy(finding.remedy);
  return message;
}

}  // namespace postern
