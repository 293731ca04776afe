// Requests for access: what was asked, what stands, what became of it.

#ifndef POSTERN_CONTROLLER_DOMAIN_REQUEST_H_
#define POSTERN_CONTROLLER_DOMAIN_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/prefix.h"
#include "controller/domain/policy.h"
#include "controller/domain/resource_id.h"

namespace postern::controller {

// One port as asked for; exactly one of `end` and `duration`.
struct AskedPort {
  uint16_t number = 0;
  std::optional<absl::Time> end = {};
  std::optional<absl::Duration> duration = {};
  // Empty with `own_address`: the caller's own. `any` in it is "*".
  std::optional<Sources> sources = {};
};

struct AskedVm {
  VmId id = {};
  std::vector<AskedPort> ports = {};
};

struct Asked {
  std::vector<AskedVm> vms = {};
  std::string justification = {};
};

// The life of one port of a request. The words are those of Azure where it has
// them: Initiating and Initiated are shown as such; Pending is a request that
// waits for approval.
enum class PortStatus : uint8_t { kPending, kInitiating, kInitiated, kRevoked };

// Why a port is kRevoked.
enum class EndReason : uint8_t {
  kNone,
  kUserRequested,
  kExpired,
  kNewerRequestInitiated,
  // The policy, or the VM in it, was deleted.
  kPolicyDeleted,
  // The agent's own limits; `detail` has its words.
  kRefusedByAgent,
  // It reached its end before the agent had it.
  kNeverApplied,
  kDenied,
  // Nobody approved it in time.
  kLapsed,
};

// What the VM's kernel counted for a grant.
struct PortUsage {
  int64_t packets = 0;
  int64_t bytes = 0;
  std::optional<absl::Time> first_used = {};
  std::optional<absl::Time> last_used = {};
};

struct RequestedPort {
  VmId vm = {};
  uint16_t number = 0;
  RuleProtocol protocol = RuleProtocol::kAny;
  Sources sources = {};
  // Unset while the request waits for approval: its clock starts with that.
  std::optional<absl::Time> end = {};
  // What was asked for.
  absl::Duration duration = {};
  PortStatus status = PortStatus::kInitiating;
  EndReason reason = EndReason::kNone;
  std::string detail = {};
  // The grant at the agent.
  std::string grant_id = {};
  std::optional<uint16_t> mapped_port = {};
  PolicyOnExpiry on_expiry = PolicyOnExpiry::kUnset;
  // When the agent had it in the kernel, and when it was over.
  std::optional<absl::Time> applied = {};
  std::optional<absl::Time> closed = {};
  // The agent has told that it is over there.
  bool end_told = false;
  PortUsage usage = {};
};

struct Request {
  std::string id = {};
  PolicyId policy = {};
  std::string requestor = {};
  std::string justification = {};
  absl::Time start = {};
  std::vector<RequestedPort> ports = {};
  // Who has approved it so far, how many must, and the role that they need.
  std::vector<std::string> approved_by = {};
  int approvals_needed = 0;
  std::string approver_role = {};
};

inline constexpr size_t kMaxJustificationBytes = 4096;
inline constexpr absl::Duration kShortestRequest = absl::Minutes(1);
// How long a request waits for its approval.
inline constexpr absl::Duration kApprovalWait = absl::Hours(24);

// What `policy` makes of `asked`: a request whose ports are all allowed, or the
// first reason why one is not. `own_address` is where the caller calls from.
// Ids are left empty.
//   INVALID_ARGUMENT     wrong on its face, with code InvalidInitiateInput
//   FAILED_PRECONDITION  beyond the policy
absl::StatusOr<Request> DecideRequest(const Policy& policy, const Asked& asked,
                                      const std::optional<Address>& own_address, absl::Time now);

// Whether `justification` is one, and there where `policy` wants it.
absl::Status CheckJustification(const Policy& policy, const std::string& justification);

// What a person gives as the reason of a change: bounded UTF-8.
absl::Status CheckReason(const std::string& reason);

// "Initiating", "Initiated", "Revoked", "Pending".
absl::string_view StatusName(PortStatus status);
// "UserRequested", "Expired", ...; "" for kNone.
absl::string_view ReasonName(EndReason reason);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_DOMAIN_REQUEST_H_
