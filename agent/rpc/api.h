// The calls of AgentService, without gRPC: from a request to a command or a
// query for the gatekeeper, and back.

#ifndef POSTERN_AGENT_RPC_API_H_
#define POSTERN_AGENT_RPC_API_H_

#include <postern/v1/agent.pb.h>
#include <postern/v1/grant.pb.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/enforcer/mailbox.h"
#include "agent/rpc/examiner.h"
#include "agent/rpc/identity.h"
#include "agent/rpc/settings.h"
#include "common/prefix.h"

namespace postern {

struct Caller {
  Peer peer;
  // Empty on the local socket.
  std::optional<Address> address;
};

// Takes the answer of one call.
template <typename Reply>
using Respond = std::function<void(const absl::StatusOr<Reply>&)>;

// A page is cut when it is larger than this: clients refuse replies of more than
// 4 MiB, and one grant is at most a few KiB.
inline constexpr size_t kMaxPageBytes = size_t{1} << 20;

// Any thread. Each call answers exactly once, at once, on the gatekeeper's thread or
// on one of its own; never when the mailbox is destroyed undrained. The caller's role has
// been checked.
class AgentApi {
 public:
  // `own_warnings` are told with those of the settings, on any thread.
  AgentApi(Mailbox& mailbox, const SharedSettings& settings,
           std::function<std::vector<std::string>()> own_warnings)
      : mailbox_(mailbox), settings_(settings), own_warnings_(std::move(own_warnings)) {}

  void Call(const Caller& caller, const v1::CreateGrantRequest& request,
            const Respond<v1::Grant>& respond);
  void Call(const Caller& caller, const v1::ExtendGrantRequest& request,
            const Respond<v1::Grant>& respond);
  void Call(const Caller& caller, const v1::MoveGrantRequest& request,
            const Respond<v1::Grant>& respond);
  void Call(const Caller& caller, const v1::RevokeGrantRequest& request,
            const Respond<v1::Grant>& respond);
  void Call(const Caller& caller, const v1::GetGrantRequest& request,
            const Respond<v1::Grant>& respond);
  void Call(const Caller& caller, const v1::ListGrantsRequest& request,
            const Respond<v1::ListGrantsResponse>& respond);
  void Call(const Caller& caller, const v1::CheckAccessRequest& request,
            const Respond<v1::CheckAccessResponse>& respond);
  void Call(const Caller& caller, const v1::GetStatusRequest& request,
            const Respond<v1::GetStatusResponse>& respond);
  void Call(const Caller& caller, const v1::ListAuditEventsRequest& request,
            const Respond<v1::ListAuditEventsResponse>& respond);
  void Call(const Caller& caller, const v1::DiagnoseRequest& request,
            const Respond<v1::DiagnoseResponse>& respond);
  void Call(const Caller& caller, const v1::ListDeniedRequest& request,
            const Respond<v1::ListDeniedResponse>& respond);
  void Call(const Caller& caller, const v1::LockdownRequest& request,
            const Respond<v1::LockdownResponse>& respond);
  void Call(const Caller& caller, const v1::LiftLockdownRequest& request,
            const Respond<v1::LiftLockdownResponse>& respond);
  void Call(const Caller& caller, const v1::ArmRequest& request,
            const Respond<v1::ArmResponse>& respond);
  void Call(const Caller& caller, const v1::ConfirmRequest& request,
            const Respond<v1::ConfirmResponse>& respond);
  void Call(const Caller& caller, const v1::DisarmRequest& request,
            const Respond<v1::DisarmResponse>& respond);

 private:
  template <typename Change>
  void Submit(const Caller& caller, absl::StatusOr<Change> change,
              const Respond<v1::Grant>& respond);
  // Answers with what `query` returns on the gatekeeper's thread.
  template <typename Reply, typename Query>
  void Ask(const Respond<Reply>& respond, Query query);

  Mailbox& mailbox_;
  const SharedSettings& settings_;
  const std::function<std::vector<std::string>()> own_warnings_;
  const std::shared_ptr<Examiner> examiner_ = std::make_shared<Examiner>(
      [](const Guard& guard) { return Diagnose(ReadHost(guard.ports), guard); });
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_API_H_
