// Between the messages of agent.proto and the agent's own values. Pure.
//
// A request is checked for its form here: everything that cannot be written down
// as one of our values, and every bound, before anything is copied. All that is
// wrong with it is told at once (BadRequestError). What the values mean, and
// whether this host allows it, is decided in grants/.

#ifndef POSTERN_AGENT_RPC_CONVERT_H_
#define POSTERN_AGENT_RPC_CONVERT_H_

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <postern/v1/agent.pb.h>
#include <postern/v1/grant.pb.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/doctor/finding.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"
#include "common/prefix.h"

namespace postern {

inline constexpr size_t kDefaultPageSize = 100;
inline constexpr size_t kMaxPageSize = 1000;

struct GrantQuery {
  int64_t after = 0;
  size_t limit = kDefaultPageSize;
  bool include_ended = false;
};
struct AuditQuery {
  uint64_t after = 0;
  absl::Time since = absl::InfinitePast();
  size_t limit = kDefaultPageSize;
};
struct DeniedQuery {
  size_t most = kDefaultPageSize;
};
struct AccessQuery {
  Address source;
  Port port;
};

// ---- Requests. `caller` is the address the agent sees the caller at, which
// stands in for sources that are not named; empty on the local socket.

absl::StatusOr<GrantRequest> FromProto(const v1::CreateGrantRequest& request,
                                       const std::optional<Address>& caller);
absl::StatusOr<MoveGrant> FromProto(const v1::MoveGrantRequest& request,
                                    const std::optional<Address>& caller);
absl::StatusOr<ExtendGrant> FromProto(const v1::ExtendGrantRequest& request);
absl::StatusOr<RevokeGrant> FromProto(const v1::RevokeGrantRequest& request);
// The id.
absl::StatusOr<std::string> FromProto(const v1::GetGrantRequest& request);
absl::StatusOr<GrantQuery> FromProto(const v1::ListGrantsRequest& request);
absl::StatusOr<AuditQuery> FromProto(const v1::ListAuditEventsRequest& request);
absl::StatusOr<AccessQuery> FromProto(const v1::CheckAccessRequest& request);
absl::StatusOr<DeniedQuery> FromProto(const v1::ListDeniedRequest& request);
// The reason.
absl::StatusOr<std::string> FromProto(const v1::LockdownRequest& request);
// The time to confirm in: a second to a day.
absl::StatusOr<absl::Duration> FromProto(const v1::ArmRequest& request);

// Errors are messages without a field's name.
absl::StatusOr<absl::Duration> FromProto(const google::protobuf::Duration& duration);
absl::StatusOr<absl::Time> FromProto(const google::protobuf::Timestamp& time);

// ---- Replies

v1::Grant ToProto(const Grant& grant);
v1::AuditEvent ToProto(const AuditEvent& event);
v1::CheckAccessResponse ToProto(const AccessAnswer& answer);
v1::ListDeniedResponse ToProto(const DeniedAnswer& answer);
v1::LockdownState ToProto(const Lockdown& lockdown);
v1::ArmedState ToProto(const Armed& armed);
v1::Finding ToProto(const Finding& finding);
google::protobuf::Duration ToProto(absl::Duration duration);
google::protobuf::Timestamp ToProto(absl::Time time);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_CONVERT_H_
