#include <functional>
#include <string>

#include "common/duration.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/request_rules.h"

namespace postern::controller {

absl::StatusOr<Request> AccessService::ChangePorts(
    const Caller& caller, absl::string_view operation, const std::string& id,
    const std::function<absl::Status(Change&, const Policy&, RequestedPort&)>& body) {
  return ChangeRequest(
      caller, operation, id, [&](Change& change, Request& request) -> absl::Status {
        SqlTransaction& transaction = change.transaction;
        const bool own = request.requestor == caller.principal;
        POSTERN_RETURN_IF_ERROR(RequireOnVms(
            transaction, caller, own ? Action::kInitiate : Action::kEndOthers, request));
        // What has reached its end is over, though nobody has told it so yet.
        for (RequestedPort& port : request.ports) {
          if (port.end && *port.end <= change.now) port.status = PortStatus::kRevoked;
        }
        POSTERN_RETURN_IF_ERROR(CheckChangeable(transaction, request));
        POSTERN_ASSIGN_OR_RETURN(const Policy policy, PolicyOf(transaction, request));
        for (RequestedPort& port : request.ports) {
          if (IsOver(port)) continue;
          POSTERN_RETURN_IF_ERROR(body(change, policy, port));
          // Until the VM has it so.
          port.status = PortStatus::kInitiating;
          port.detail.clear();
          POSTERN_ASSIGN_OR_RETURN(const int64_t revision,
                                   NextRevision(transaction, port.vm.Key()));
          POSTERN_RETURN_IF_ERROR(UpdatePort(transaction, port, revision));
          change.vms.insert(port.vm.Key());
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<Request> AccessService::ExtendRequest(const Caller& caller, const std::string& id,
                                                     absl::Duration by) {
  return ChangePorts(caller, "Postern/requests/extend/action", id,
                     [&](Change& change, const Policy& policy, RequestedPort& port) {
                       if (by <= absl::ZeroDuration()) {
                         return CodedError(absl::StatusCode::kInvalidArgument,
                                           "InvalidInitiateInput",
                                           "an extension is longer than nothing");
                       }
                       change.detail["by"] = DurationText(by);
                       port.duration += by;
                       if (port.end) *port.end += by;
                       return CheckAllowed(policy, port, port.sources, port.duration);
                     });
}

absl::StatusOr<Request> AccessService::MoveRequest(const Caller& caller, const std::string& id,
                                                   const Sources& sources) {
  return ChangePorts(caller, "Postern/requests/move/action", id,
                     [&](Change& change, const Policy& policy, RequestedPort& port) {
                       change.detail["to"] = SourcesShown(sources);
                       port.sources = sources;
                       return CheckAllowed(policy, port, sources, port.duration);
                     });
}

}  // namespace postern::controller
