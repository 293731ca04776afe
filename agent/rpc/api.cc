#include "agent/rpc/api.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/doctor/diagnose.h"
#include "agent/rpc/convert.h"
#include "common/status.h"

namespace postern {
namespace {

std::string ShownListener(const ListenConfig& listen) {
  const std::string address = listen.address.ToString();
  return listen.address.family == Family::kIpv6 ? absl::StrCat("[", address, "]:", listen.port)
                                                : absl::StrCat(address, ":", listen.port);
}

v1::ControllerState ControllerToProto(const ControllerFacts& facts) {
  v1::ControllerState message;
  message.set_address(facts.address);
  message.set_attached(facts.attached);
  *message.mutable_since() = ToProto(facts.since);
  message.set_problem(facts.problem);
  message.set_revision(facts.revision);
  return message;
}

// What settings alone say.
v1::GetStatusResponse StatusOf(const Settings& settings) {
  const Config& config = settings.config;
  v1::GetStatusResponse response;
  response.set_version(settings.facts.version);
  response.set_mode(config.mode == Mode::kEnforce ? "enforce" : "observe");
  for (const uint16_t port : config.limits.guarded_ports) response.add_guarded_ports(port);
  for (const Prefix& prefix : config.always_allow) response.add_always_allow(prefix.ToString());
  response.set_max_live_grants(config.limits.max_live_grants);
  *response.mutable_max_duration() = ToProto(config.limits.max_duration);
  if (config.listen) response.set_listen_address(ShownListener(*config.listen));
  for (const std::string& warning : settings.facts.warnings) response.add_warnings(warning);
  if (const auto& controller = settings.facts.controller) {
    *response.mutable_controller() = ControllerToProto(*controller);
  }
  return response;
}

v1::RepairState RepairsToProto(const GateRepairs& repairs) {
  v1::RepairState message;
  message.set_count(repairs.count);
  if (repairs.last) *message.mutable_last() = ToProto(*repairs.last);
  *message.mutable_last_took() = ToProto(repairs.last_took);
  *message.mutable_longest_took() = ToProto(repairs.longest_took);
  message.set_last_detail(repairs.last_detail);
  return message;
}

void AddStatus(const GateStatus& status, v1::GetStatusResponse& response) {
  response.set_live_grants(static_cast<uint32_t>(status.live_grants));
  if (status.next_end) *response.mutable_next_end() = ToProto(*status.next_end);
  *response.mutable_started() = ToProto(status.started);
  response.set_dropped_packets(status.dropped.packets);
  response.set_dropped_bytes(status.dropped.bytes);
  *response.mutable_now() = ToProto(status.now);
  if (status.enforced) response.set_mode("enforce");
  if (status.standing.lockdown) {
    *response.mutable_lockdown() = ToProto(*status.standing.lockdown);
  }
  if (status.standing.armed) *response.mutable_armed() = ToProto(*status.standing.armed);
  response.set_table_protected(status.table_protected);
  *response.mutable_repairs() = RepairsToProto(status.repairs);
  response.set_withheld_grants(static_cast<uint32_t>(status.withheld_grants));
  response.set_withheld_reason(status.withheld_reason);
  if (status.clock_skew) *response.mutable_clock_skew() = ToProto(*status.clock_skew);
  for (const std::string& warning : status.warnings) response.add_warnings(warning);
}

// The first rows, at most `limit` and about kMaxPageBytes, and the token that
// leads to the rest. `rows` holds one more than `limit` when there are more.
template <typename Row, typename Add, typename NumberOf>
std::string FillPage(const std::vector<Row>& rows, size_t limit, Add add, NumberOf number_of) {
  size_t taken = 0;
  size_t bytes = 0;
  while (taken < std::min(rows.size(), limit) && bytes < kMaxPageBytes) {
    auto& added = *add();
    added = ToProto(rows[taken]);
    bytes += added.ByteSizeLong();
    ++taken;
  }
  return taken < rows.size() ? absl::StrCat(number_of(rows[taken - 1])) : "";
}

// A packet of either protocol passes only when both do.
AccessAnswer CheckAll(const Gatekeeper& gatekeeper, const AccessQuery& query) {
  std::vector<AccessAnswer> answers;
  if (query.port.tcp) {
    answers.push_back(gatekeeper.Check(query.source, Protocol::kTcp, query.port.number));
  }
  if (query.port.udp) {
    answers.push_back(gatekeeper.Check(query.source, Protocol::kUdp, query.port.number));
  }
  return *std::min_element(
      answers.begin(), answers.end(), [](const AccessAnswer& a, const AccessAnswer& b) {
        if (a.allowed != b.allowed) return b.allowed;
        return a.end.value_or(absl::InfiniteFuture()) < b.end.value_or(absl::InfiniteFuture());
      });
}

}  // namespace

template <typename Change>
void AgentApi::Submit(const Caller& caller, absl::StatusOr<Change> change,
                      const Respond<v1::Grant>& respond) {
  if (!change.ok()) {
    respond(change.status());
    return;
  }
  const absl::Status submitted =
      mailbox_.Submit({.request = *std::move(change),
                       .actor = caller.peer.name,
                       .done = [respond](const absl::StatusOr<Grant>& grant) {
                         if (grant.ok()) {
                           respond(ToProto(*grant));
                         } else {
                           respond(grant.status());
                         }
                       }});
  if (!submitted.ok()) respond(submitted);
}

template <typename Reply, typename Query>
void AgentApi::Ask(const Respond<Reply>& respond, Query query) {
  const absl::Status asked = mailbox_.Ask(
      [respond, query = std::move(query)](Gatekeeper& gatekeeper) { respond(query(gatekeeper)); });
  if (!asked.ok()) respond(asked);
}

void AgentApi::Call(const Caller& caller, const v1::CreateGrantRequest& request,
                    const Respond<v1::Grant>& respond) {
  absl::StatusOr<GrantRequest> grant = FromProto(request, caller.address);
  if (!grant.ok()) {
    respond(grant.status());
    return;
  }
  Submit<CreateGrant>(caller, CreateGrant{.request = *std::move(grant)}, respond);
}

void AgentApi::Call(const Caller& caller, const v1::ExtendGrantRequest& request,
                    const Respond<v1::Grant>& respond) {
  Submit(caller, FromProto(request), respond);
}

void AgentApi::Call(const Caller& caller, const v1::MoveGrantRequest& request,
                    const Respond<v1::Grant>& respond) {
  Submit(caller, FromProto(request, caller.address), respond);
}

void AgentApi::Call(const Caller& caller, const v1::RevokeGrantRequest& request,
                    const Respond<v1::Grant>& respond) {
  Submit(caller, FromProto(request), respond);
}

void AgentApi::Call(const Caller& /*caller*/, const v1::GetGrantRequest& request,
                    const Respond<v1::Grant>& respond) {
  const absl::StatusOr<std::string> id = FromProto(request);
  if (!id.ok()) {
    respond(id.status());
    return;
  }
  Ask(respond, [id = *id](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::Grant> {
    POSTERN_ASSIGN_OR_RETURN(const Grant grant, gatekeeper.Get(id));
    return ToProto(grant);
  });
}

void AgentApi::Call(const Caller& /*caller*/, const v1::ListGrantsRequest& request,
                    const Respond<v1::ListGrantsResponse>& respond) {
  const absl::StatusOr<GrantQuery> query = FromProto(request);
  if (!query.ok()) {
    respond(query.status());
    return;
  }
  Ask(respond, [query = *query](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::ListGrantsResponse> {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<Grant> grants,
                             gatekeeper.List(query.after, query.limit + 1, query.include_ended));
    v1::ListGrantsResponse response;
    response.set_next_page_token(FillPage(
        grants, query.limit, [&response] { return response.add_grants(); },
        [](const Grant& grant) { return grant.sequence; }));
    return response;
  });
}

void AgentApi::Call(const Caller& /*caller*/, const v1::ListAuditEventsRequest& request,
                    const Respond<v1::ListAuditEventsResponse>& respond) {
  const absl::StatusOr<AuditQuery> query = FromProto(request);
  if (!query.ok()) {
    respond(query.status());
    return;
  }
  Ask(respond,
      [query = *query](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::ListAuditEventsResponse> {
        POSTERN_ASSIGN_OR_RETURN(const std::vector<AuditEvent> events,
                                 gatekeeper.Audit(query.after, query.since, query.limit + 1));
        v1::ListAuditEventsResponse response;
        response.set_next_page_token(FillPage(
            events, query.limit, [&response] { return response.add_events(); },
            [](const AuditEvent& event) { return event.number; }));
        return response;
      });
}

void AgentApi::Call(const Caller& /*caller*/, const v1::CheckAccessRequest& request,
                    const Respond<v1::CheckAccessResponse>& respond) {
  const absl::StatusOr<AccessQuery> query = FromProto(request);
  if (!query.ok()) {
    respond(query.status());
    return;
  }
  Ask(respond, [query = *query](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::CheckAccessResponse> {
    return ToProto(CheckAll(gatekeeper, query));
  });
}

void AgentApi::Call(const Caller& caller, const v1::GetStatusRequest& /*request*/,
                    const Respond<v1::GetStatusResponse>& respond) {
  v1::GetStatusResponse response = StatusOf(*settings_.Get());
  for (const std::string& warning : own_warnings_()) response.add_warnings(warning);
  if (caller.address) response.set_caller_address(caller.address->ToString());
  Ask(respond,
      [response =
           std::move(response)](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::GetStatusResponse> {
        POSTERN_ASSIGN_OR_RETURN(const GateStatus status, gatekeeper.Status());
        v1::GetStatusResponse complete = response;
        AddStatus(status, complete);
        return complete;
      });
}

// The gatekeeper knows whether it enforces, and does not wait for a host that is
// slow to read.
void AgentApi::Call(const Caller& /*caller*/, const v1::DiagnoseRequest& /*request*/,
                    const Respond<v1::DiagnoseResponse>& respond) {
  const std::vector<uint16_t> ports = settings_.Get()->config.limits.guarded_ports;
  // The query may outlive this object.
  const absl::Status asked =
      mailbox_.Ask([examiner = examiner_, ports, respond](Gatekeeper& gatekeeper) {
        const Guard guard{.enforce = gatekeeper.enforces(), .ports = ports};
        examiner->Ask(guard, [respond](const Examiner::Findings& findings) {
          if (!findings.ok()) return respond(findings.status());
          v1::DiagnoseResponse response;
          for (const Finding& finding : *findings) *response.add_findings() = ToProto(finding);
          respond(response);
        });
      });
  if (!asked.ok()) respond(asked);
}

void AgentApi::Call(const Caller& /*caller*/, const v1::ListDeniedRequest& request,
                    const Respond<v1::ListDeniedResponse>& respond) {
  const absl::StatusOr<DeniedQuery> query = FromProto(request);
  if (!query.ok()) {
    respond(query.status());
    return;
  }
  Ask(respond, [query = *query](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::ListDeniedResponse> {
    POSTERN_ASSIGN_OR_RETURN(const DeniedAnswer answer, gatekeeper.Denied(query.most));
    return ToProto(answer);
  });
}

void AgentApi::Call(const Caller& caller, const v1::LockdownRequest& request,
                    const Respond<v1::LockdownResponse>& respond) {
  const absl::StatusOr<std::string> reason = FromProto(request);
  if (!reason.ok()) {
    respond(reason.status());
    return;
  }
  Ask(respond,
      [actor = caller.peer.name,
       reason = *reason](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::LockdownResponse> {
        POSTERN_ASSIGN_OR_RETURN(const size_t ended, gatekeeper.LockDown(reason, actor));
        v1::LockdownResponse response;
        response.set_ended_grants(static_cast<uint32_t>(ended));
        *response.mutable_lockdown() = ToProto(*gatekeeper.standing().lockdown);
        return response;
      });
}

void AgentApi::Call(const Caller& caller, const v1::LiftLockdownRequest& /*request*/,
                    const Respond<v1::LiftLockdownResponse>& respond) {
  Ask(respond,
      [actor =
           caller.peer.name](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::LiftLockdownResponse> {
        POSTERN_RETURN_IF_ERROR(gatekeeper.LiftLockdown(actor));
        return v1::LiftLockdownResponse();
      });
}

void AgentApi::Call(const Caller& caller, const v1::ArmRequest& request,
                    const Respond<v1::ArmResponse>& respond) {
  const absl::StatusOr<absl::Duration> within = FromProto(request);
  if (!within.ok()) {
    respond(within.status());
    return;
  }
  Ask(respond,
      [actor = caller.peer.name,
       within = *within](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::ArmResponse> {
        POSTERN_ASSIGN_OR_RETURN(const std::vector<Flow> exposed, gatekeeper.Arm(within, actor));
        v1::ArmResponse response;
        *response.mutable_armed() = ToProto(*gatekeeper.standing().armed);
        for (const Flow& flow : exposed) response.add_exposed_sessions(flow.ToString());
        return response;
      });
}

void AgentApi::Call(const Caller& caller, const v1::ConfirmRequest& /*request*/,
                    const Respond<v1::ConfirmResponse>& respond) {
  Ask(respond,
      [actor = caller.peer.name](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::ConfirmResponse> {
        POSTERN_RETURN_IF_ERROR(gatekeeper.Confirm(actor));
        v1::ConfirmResponse response;
        *response.mutable_armed() = ToProto(*gatekeeper.standing().armed);
        return response;
      });
}

void AgentApi::Call(const Caller& caller, const v1::DisarmRequest& /*request*/,
                    const Respond<v1::DisarmResponse>& respond) {
  Ask(respond,
      [actor = caller.peer.name](Gatekeeper& gatekeeper) -> absl::StatusOr<v1::DisarmResponse> {
        POSTERN_RETURN_IF_ERROR(gatekeeper.Disarm(actor));
        return v1::DisarmResponse();
      });
}

}  // namespace postern
