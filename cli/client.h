// Calls to an agent. The only part of the tool that knows gRPC.

#ifndef POSTERN_CLI_CLIENT_H_
#define POSTERN_CLI_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/command.h"
#include "cli/credentials.h"
#include "postern/v1/agent.pb.h"

namespace postern {

// Failures are what ServerFailure() makes, with a hint where the agent could
// not be reached. One thread at a time.
class AgentClient {
 public:
  virtual ~AgentClient() = default;

  virtual absl::StatusOr<v1::Grant> Create(const v1::CreateGrantRequest& request) = 0;
  virtual absl::StatusOr<v1::Grant> Extend(const v1::ExtendGrantRequest& request) = 0;
  virtual absl::StatusOr<v1::Grant> Move(const v1::MoveGrantRequest& request) = 0;
  virtual absl::StatusOr<v1::Grant> Revoke(const v1::RevokeGrantRequest& request) = 0;
  virtual absl::StatusOr<v1::ListGrantsResponse> List(const v1::ListGrantsRequest& request) = 0;
  virtual absl::StatusOr<v1::CheckAccessResponse> Check(const v1::CheckAccessRequest& request) = 0;
  virtual absl::StatusOr<v1::GetStatusResponse> GetStatus() = 0;
  virtual absl::StatusOr<v1::ListAuditEventsResponse> ListAudit(
      const v1::ListAuditEventsRequest& request) = 0;
  virtual absl::StatusOr<v1::DiagnoseResponse> Diagnose() = 0;
  virtual absl::StatusOr<v1::ListDeniedResponse> ListDenied(
      const v1::ListDeniedRequest& request) = 0;
  virtual absl::StatusOr<v1::LockdownResponse> Lockdown(const v1::LockdownRequest& request) = 0;
  virtual absl::StatusOr<v1::LiftLockdownResponse> LiftLockdown() = 0;
  virtual absl::StatusOr<v1::ArmResponse> Arm(const v1::ArmRequest& request) = 0;
  virtual absl::StatusOr<v1::ConfirmResponse> Confirm() = 0;
  virtual absl::StatusOr<v1::DisarmResponse> Disarm() = 0;

  // Hands each event to `take` until that returns false or `stop_fd` (-1 for
  // none) becomes readable: both end well. Otherwise why the stream ended.
  virtual absl::Status Watch(const v1::WatchEventsRequest& request, int stop_fd,
                             const std::function<bool(const v1::AuditEvent&)>& take) = 0;
};

// Connects with the first call. `timeout` bounds each call but Watch.
std::unique_ptr<AgentClient> CallLocal(const LocalAgent& agent, absl::Duration timeout);
std::unique_ptr<AgentClient> CallRemote(const RemoteAgent& agent, const Credentials& credentials,
                                        absl::Duration timeout);

}  // namespace postern

#endif  // POSTERN_CLI_CLIENT_H_
