#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"
#include "controller/service/request_rules.h"

namespace postern::controller {
namespace {

constexpr size_t kRequestPage = 100;
constexpr size_t kMaxClientRequestIdBytes = 128;

Scope GroupOf(const PolicyId& id) {
  return {.subscription = id.subscription, .resource_group = id.resource_group};
}

absl::Status RequireAsked(SqlTransaction& transaction, const Caller& caller, const PolicyId& id,
                          const Asked& asked) {
  if (asked.vms.empty()) return Require(transaction, caller, Action::kInitiate, GroupOf(id));
  for (const AskedVm& vm : asked.vms) {
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kInitiate, Scope::Of(vm.id)));
  }
  return absl::OkStatus();
}

// "22 of web-1 from 203.0.113.7/32 for 1h, ..."
std::string PortsShown(const Request& request) {
  return absl::StrJoin(request.ports, ", ", [](std::string* out, const RequestedPort& port) {
    absl::StrAppend(out, port.number, " of ", port.vm.name, " from ", SourcesShown(port.sources),
                    " for ", DurationText(port.duration));
  });
}

// What `call` has made already. A request id is for one content: what another would be
// answered, it did not ask for.
absl::StatusOr<std::optional<Request>> Made(SqlTransaction& transaction, const Caller& caller,
                                            const ClientCall& call) {
  if (call.id.empty()) return std::nullopt;
  POSTERN_ASSIGN_OR_RETURN(std::optional<CalledRequest> made,
                           FindRequestByCall(transaction, caller.principal, call.id));
  if (!made) return std::nullopt;
  if (made->call.content.empty() || made->call.content == call.content) {
    return std::move(made->request);
  }
  return CodedError(absl::StatusCode::kAlreadyExists, "ClientRequestIdInUse",
                    absl::StrCat("x-ms-client-request-id ", call.id,
                                 " was given with another content before, which made the request ",
                                 made->request.id, "; give each call one of its own"));
}

// "MICROSECONDS:ID" of the last request of a page.
absl::Status ReadPage(const std::string& page, RequestFilter& filter) {
  if (page.empty()) return absl::OkStatus();
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(page, ':');
  int64_t micros = 0;
  if (!absl::SimpleAtoi(parts.first, &micros)) {
    return CodedError(absl::StatusCode::kInvalidArgument, "InvalidSkipToken",
                      "the page is not one that an answer named");
  }
  filter.before_start = absl::FromUnixMicros(micros);
  filter.before_id = std::string(parts.second);
  return absl::OkStatus();
}

}  // namespace

absl::Status AccessService::Close(Change& change, RequestedPort& port, EndReason reason,
                                  const std::string& detail) {
  if (IsOver(port)) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(const int64_t revision, NextRevision(change.transaction, port.vm.Key()));
  port.status = PortStatus::kRevoked;
  port.reason = reason;
  port.detail = detail;
  port.closed = change.now;
  change.vms.insert(port.vm.Key());
  return UpdatePort(change.transaction, port, revision);
}

absl::Status AccessService::CloseOlder(Change& change, const Request& request, bool that_wait) {
  for (const RequestedPort& port : request.ports) {
    if (IsOver(port)) continue;
    POSTERN_ASSIGN_OR_RETURN(std::vector<PortRow> older,
                             LivePortsOfVm(change.transaction, port.vm.Key()));
    for (PortRow& row : older) {
      const bool replaced = row.requestor == request.requestor && row.port.number == port.number &&
                            row.request_id != request.id &&
                            (row.port.status == PortStatus::kPending) == that_wait;
      if (!replaced) continue;
      POSTERN_RETURN_IF_ERROR(Close(change, row.port, EndReason::kNewerRequestInitiated,
                                    absl::StrCat("replaced by the request ", request.id)));
    }
  }
  return absl::OkStatus();
}

absl::Status AccessService::Begin(Change& change, Request& request, bool is_new) {
  POSTERN_RETURN_IF_ERROR(CloseOlder(change, request, /*that_wait=*/false));
  for (RequestedPort& port : request.ports) {
    // What the policy has lost while the request waited stays closed.
    if (IsOver(port)) continue;
    const std::string vm = port.vm.Key();
    POSTERN_RETURN_IF_ERROR(NextRevision(change.transaction, vm).status());
    change.vms.insert(vm);
    if (is_new) continue;
    port.status = PortStatus::kInitiating;
    port.end = change.now + port.duration;
    POSTERN_RETURN_IF_ERROR(UpdatePort(change.transaction, port, 0));
  }
  return absl::OkStatus();
}

absl::StatusOr<Request> AccessService::Initiate(const Caller& caller, const PolicyId& policy_id,
                                                const Asked& asked) {
  Request request;
  const auto body = [&](Change& change) -> absl::Status {
    SqlTransaction& transaction = change.transaction;
    POSTERN_RETURN_IF_ERROR(RequireAsked(transaction, caller, policy_id, asked));
    if (caller.client_request_id.size() > kMaxClientRequestIdBytes) {
      return CodedError(absl::StatusCode::kInvalidArgument, "InvalidRequestContent",
                        "x-ms-client-request-id is too long");
    }
    const ClientCall call = {.id = caller.client_request_id, .content = DigestOf(policy_id, asked)};
    POSTERN_ASSIGN_OR_RETURN(std::optional<Request> made, Made(transaction, caller, call));
    if (made) {
      request = *std::move(made);
      change.nothing_done = true;
      return absl::OkStatus();
    }
    POSTERN_ASSIGN_OR_RETURN(const std::optional<Policy> policy,
                             FindPolicy(transaction, policy_id.Key()));
    if (!policy) {
      return CodedError(absl::StatusCode::kNotFound, "PolicyNotFound",
                        absl::StrCat("there is no policy ", policy_id.ToString()));
    }
    POSTERN_ASSIGN_OR_RETURN(request, DecideRequest(*policy, asked, caller.address, change.now));
    request.id = NewUuid();
    request.requestor = caller.principal;
    for (RequestedPort& port : request.ports) port.grant_id = NewUuid();
    const bool waits = request.approvals_needed > 0;
    const std::optional<absl::Time> lapses =
        waits ? std::optional(change.now + kApprovalWait) : std::nullopt;
    POSTERN_RETURN_IF_ERROR(InsertRequest(transaction, request, call, lapses));
    change.detail["request"] = request.id;
    change.detail["ports"] = PortsShown(request);
    change.detail["justification"] = request.justification;
    // Or an approval of the older one would end the newer.
    POSTERN_RETURN_IF_ERROR(CloseOlder(change, request, /*that_wait=*/true));
    if (waits) return absl::OkStatus();
    return Begin(change, request, /*is_new=*/true);
  };
  POSTERN_RETURN_IF_ERROR(
      Decide(caller, ActionName(Action::kInitiate), policy_id.ToString(), body));
  return request;
}

absl::StatusOr<Request> AccessService::GetRequest(const Caller& caller, const std::string& id) {
  Request request;
  const auto body = [&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(std::optional<Request> found, FindRequest(transaction, id));
    if (!found) {
      return CodedError(absl::StatusCode::kNotFound, "RequestNotFound",
                        absl::StrCat("there is no request ", id));
    }
    request = *std::move(found);
    if (request.requestor == caller.principal) return absl::OkStatus();
    return RequireOnVms(transaction, caller, Action::kReadPolicy, request);
  };
  POSTERN_RETURN_IF_ERROR(Look(caller, ActionName(Action::kReadPolicy), id, body));
  return request;
}

absl::StatusOr<Page<Request>> AccessService::ListRequests(const Caller& caller, const Where& where,
                                                          bool include_ended,
                                                          const std::string& page) {
  Page<Request> result;
  RequestFilter filter{.where = where};
  if (!include_ended) filter.live_at = clock_.Read().wall;
  POSTERN_RETURN_IF_ERROR(ReadPage(page, filter));
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<RoleAssignment> roles,
                             RolesOf(transaction, caller.principal));
    const bool reads_any =
        std::any_of(roles.begin(), roles.end(), [](const RoleAssignment& assignment) {
          return Holds(assignment.role, Action::kReadPolicy);
        });
    if (!reads_any) filter.requestor = caller.principal;
    POSTERN_ASSIGN_OR_RETURN(std::vector<Request> requests,
                             controller::ListRequests(transaction, filter, kRequestPage));
    if (requests.size() == kRequestPage) {
      result.next =
          absl::StrCat(absl::ToUnixMicros(requests.back().start), ":", requests.back().id);
    }
    for (Request& request : requests) {
      const bool readable =
          request.requestor == caller.principal ||
          std::all_of(request.ports.begin(), request.ports.end(), [&](const RequestedPort& port) {
            return Allowed(roles, Action::kReadPolicy, Scope::Of(port.vm));
          });
      if (readable) result.items.push_back(std::move(request));
    }
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return result;
}

absl::StatusOr<Request> AccessService::ChangeRequest(
    const Caller& caller, absl::string_view operation, const std::string& id,
    const std::function<absl::Status(Change&, Request&)>& body) {
  Request request;
  const auto change_it = [&](Change& change) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(std::optional<Request> found, FindRequest(change.transaction, id));
    if (!found) {
      return CodedError(absl::StatusCode::kNotFound, "RequestNotFound",
                        absl::StrCat("there is no request ", id));
    }
    request = *std::move(found);
    change.detail["ports"] = PortsShown(request);
    change.detail["requestor"] = request.requestor;
    return body(change, request);
  };
  POSTERN_RETURN_IF_ERROR(Decide(caller, operation, id, change_it));
  return request;
}

absl::StatusOr<Request> AccessService::EndRequest(const Caller& caller, const std::string& id,
                                                  const std::string& reason) {
  return ChangeRequest(
      caller, "Postern/requests/end/action", id,
      [&](Change& change, Request& request) -> absl::Status {
        if (request.requestor != caller.principal) {
          POSTERN_RETURN_IF_ERROR(
              RequireOnVms(change.transaction, caller, Action::kEndOthers, request));
        }
        POSTERN_RETURN_IF_ERROR(CheckReason(reason));
        change.nothing_done = IsOver(request);
        change.detail["reason"] = reason;
        for (RequestedPort& port : request.ports) {
          POSTERN_RETURN_IF_ERROR(Close(change, port, EndReason::kUserRequested, reason));
        }
        return absl::OkStatus();
      });
}

}  // namespace postern::controller
