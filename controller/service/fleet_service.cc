#include "controller/service/fleet_service.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/service/agents.h"
#include "controller/service/audit_detail.h"
#include "controller/store/audit.h"
#include "controller/store/controllers.h"
#include "controller/store/requests.h"
#include "controller/store/vms.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxFactBytes = 256;
constexpr size_t kMaxReasonBytes = 4096;
constexpr absl::Duration kControllerForgotten = absl::Hours(24);

// The row of a stream's VM, unless the stream is over.
absl::StatusOr<VmRow> VmOfStream(SqlTransaction& transaction, const AgentStream& stream) {
  POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, stream.vm));
  if (row.stream == stream.id) return row;
  return absl::AbortedError("the VM has attached another time");
}

// What an agent says, as far as it is kept.
std::string Bounded(const std::string& text, size_t most) { return text.substr(0, most); }

AuditDetail GrantDetail(const PortRow& row) {
  return {{"request", row.request_id},
          {"grant", row.port.grant_id},
          {"requestor", row.requestor},
          {"port", absl::StrCat(row.port.number)}};
}

void AddUsage(const RequestedPort& port, AuditDetail& detail) {
  detail["packets"] = absl::StrCat(port.usage.packets);
  detail["bytes"] = absl::StrCat(port.usage.bytes);
  if (port.usage.first_used) detail["first_used"] = TimeText(*port.usage.first_used);
  if (port.usage.last_used) detail["last_used"] = TimeText(*port.usage.last_used);
}

void TakeUsage(const ReportedGrant& reported, RequestedPort& port) {
  port.usage.packets = std::max(port.usage.packets, static_cast<int64_t>(reported.packets));
  port.usage.bytes = std::max(port.usage.bytes, static_cast<int64_t>(reported.bytes));
  if (reported.first_used && !port.usage.first_used) port.usage.first_used = reported.first_used;
  if (reported.last_used) port.usage.last_used = reported.last_used;
  if (reported.mapped_port) port.mapped_port = reported.mapped_port;
}

EndReason ReasonOf(ReportedState state) {
  switch (state) {
    case ReportedState::kExpired:
      return EndReason::kExpired;
    case ReportedState::kSuperseded:
      return EndReason::kNewerRequestInitiated;
    case ReportedState::kRevoked:
    case ReportedState::kActive:
      return EndReason::kUserRequested;
    case ReportedState::kNotMade:
      return EndReason::kRefusedByAgent;
  }
  return EndReason::kNone;
}

absl::string_view OperationOf(ReportedState state) {
  switch (state) {
    case ReportedState::kActive:
      return "Postern/grants/apply";
    case ReportedState::kNotMade:
      return "Postern/grants/refuse";
    case ReportedState::kExpired:
    case ReportedState::kRevoked:
    case ReportedState::kSuperseded:
      return "Postern/grants/end";
  }
  return "";
}

// What one report about one port changes.
class Taking {
 public:
  // `revision` is that of the report; `vm` outlives this.
  Taking(SqlTransaction& transaction, const VmRow& vm, int64_t revision, absl::Time now)
      : transaction_(transaction),
        vm_(vm.id),
        clock_skew_(vm.clock_skew),
        revision_(revision),
        now_(now) {}

  absl::Status Take(const ReportedGrant& reported) {
    POSTERN_ASSIGN_OR_RETURN(std::optional<PortRow> row, FindPort(transaction_, reported.id));
    // Of a controller that was restored from a copy, or of another one before it.
    if (!row) return absl::OkStatus();
    if (row->port.vm.Key() != vm_.Key()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the grant ", Bounded(reported.id, kMaxFactBytes), " is not one of ", vm_.ToString()));
    }
    TakeUsage(reported, row->port);
    if (reported.state == ReportedState::kActive) return TakeActive(reported, *row);
    return TakeEnd(reported, *row);
  }

 private:
  absl::Status TakeActive(const ReportedGrant& reported, PortRow& row) {
    RequestedPort& port = row.port;
    // What was told before the agent had the change is no answer to it, but the port is open.
    const int64_t revision = std::max(revision_, reported.revision);
    const bool answers = port.status == PortStatus::kInitiating && revision >= row.changed_revision;
    const bool opened = !port.applied && port.status != PortStatus::kRevoked;
    if (opened) port.applied = now_;
    if (answers) port.status = PortStatus::kInitiated;
    AuditDetail detail = GrantDetail(row);
    const bool refused = answers && !reported.reason.empty() && reported.end;
    if (refused) TakeBackExtension(reported, port, detail);
    POSTERN_RETURN_IF_ERROR(Update(row));
    if (refused) {
      return AppendOfAgent(transaction_, now_, "Postern/grants/extend", vm_, detail, "Failed");
    }
    if (!answers && !opened) return absl::OkStatus();
    return AppendOfAgent(transaction_, now_, OperationOf(ReportedState::kActive), vm_, detail);
  }

  // The agent's limits allow no more: its end stays.
  void TakeBackExtension(const ReportedGrant& reported, RequestedPort& port,
                         AuditDetail& detail) const {
    port.detail = Bounded(reported.reason, kMaxReasonBytes);
    detail["reason"] = port.detail;
    const absl::Time end = *reported.end - clock_skew_;
    if (!port.end || end >= *port.end) return;
    port.duration -= *port.end - end;
    port.end = end;
  }

  absl::Status TakeEnd(const ReportedGrant& reported, PortRow& row) {
    RequestedPort& port = row.port;
    // A repeat, after a reconnect, tells nothing new.
    const bool told = port.end_told;
    port.end_told = true;
    if (port.status != PortStatus::kRevoked) {
      port.status = PortStatus::kRevoked;
      port.reason = ReasonOf(reported.state);
      port.detail = Bounded(reported.reason, kMaxReasonBytes);
      port.closed = reported.end.value_or(now_);
    }
    POSTERN_RETURN_IF_ERROR(Update(row));
    if (told) return absl::OkStatus();
    AuditDetail detail = GrantDetail(row);
    detail["reason"] = Bounded(reported.reason, kMaxReasonBytes);
    if (reported.end) detail["end"] = TimeText(*reported.end);
    AddUsage(port, detail);
    return AppendOfAgent(transaction_, now_, OperationOf(reported.state), vm_, detail,
                         reported.state == ReportedState::kNotMade ? "Failed" : "Succeeded");
  }

  absl::Status Update(const PortRow& row) { return UpdatePortRow(transaction_, row); }

  SqlTransaction& transaction_;
  const VmId& vm_;
  const absl::Duration clock_skew_;
  const int64_t revision_;
  const absl::Time now_;
};

bool IsWanted(const PortRow& row, absl::Time now) {
  const PortStatus status = row.port.status;
  return (status == PortStatus::kInitiating || status == PortStatus::kInitiated) && row.port.end &&
         *row.port.end > now;
}

WantedGrant WantedOf(PortRow row) {
  return {.id = std::move(row.port.grant_id),
          .port = row.port.number,
          .protocol = row.port.protocol,
          .sources = std::move(row.port.sources),
          .end = *row.port.end,
          .requestor = std::move(row.requestor),
          .justification = std::move(row.justification),
          .on_expiry = row.port.on_expiry};
}

}  // namespace

absl::Status FleetService::KeepAlive() {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    const absl::Time now = clock_.Read().wall;
    POSTERN_RETURN_IF_ERROR(DeleteControllersBefore(transaction, now - kControllerForgotten));
    return PutController(transaction, id_, now);
  });
}

absl::Status FleetService::ForgetOthers() {
  return database_.Write([](SqlTransaction& transaction) {
    return DeleteControllersBefore(transaction, absl::InfiniteFuture());
  });
}

absl::Status FleetService::Attached(const AgentStream& stream, const std::string& serial,
                                    const AgentFacts& facts) {
  const absl::Status written = database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, stream.vm));
    POSTERN_RETURN_IF_ERROR(UseCertificate(serial, row));
    const absl::Time now = clock_.Read().wall;
    row.stream = stream.id;
    row.controller = id_;
    row.attached = now;
    row.last_seen = now;
    row.agent_version = Bounded(facts.version, kMaxFactBytes);
    row.hostname = Bounded(facts.hostname, kMaxFactBytes);
    row.enforces = facts.enforces;
    row.clock_skew = facts.clock_skew;
    return PutVmRow(transaction, row);
  });
  RecordRefusal(written, "Postern/virtualMachines/attach", stream.vm);
  return written;
}

absl::Status FleetService::Detached(const std::vector<AgentStream>& ended) {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    for (const auto& [vm, stream] : ended) {
      POSTERN_ASSIGN_OR_RETURN(std::optional<VmRow> row, FindVmRow(transaction, vm.Key()));
      if (!row || row->stream != stream) continue;
      row->stream.clear();
      row->controller.clear();
      row->last_seen = clock_.Read().wall;
      POSTERN_RETURN_IF_ERROR(PutVmRow(transaction, *row));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<Wanted> FleetService::WantedOf(const AgentStream& stream) {
  Wanted wanted;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    wanted = {};
    POSTERN_ASSIGN_OR_RETURN(const VmRow row, VmOfStream(transaction, stream));
    const std::string key = row.id.Key();
    wanted.revision = row.wanted_revision;
    const absl::Time now = clock_.Read().wall;
    POSTERN_ASSIGN_OR_RETURN(std::vector<PortRow> live, LivePortsOfVm(transaction, key));
    for (PortRow& port : live) {
      if (IsWanted(port, now)) {
        wanted.grants.push_back(controller::WantedOf(std::move(port)));
      } else if (port.port.status != PortStatus::kPending) {
        // Its end has come, and closing it is due.
        wanted.withdrawn.push_back({.id = port.port.grant_id,
                                    .reason = std::string(ReasonName(EndReason::kExpired)),
                                    .keep_sessions = true});
      }
    }
    POSTERN_ASSIGN_OR_RETURN(const std::vector<PortRow> withdrawn,
                             WithdrawnPorts(transaction, key, row.applied_revision));
    for (const PortRow& port : withdrawn) {
      const bool superseded = port.port.reason == EndReason::kNewerRequestInitiated;
      wanted.withdrawn.push_back(
          {.id = port.port.grant_id,
           .reason = absl::StrCat(ReasonName(port.port.reason),
                                  port.port.detail.empty() ? "" : ": ", port.port.detail),
           .keep_sessions = superseded || port.port.reason == EndReason::kExpired,
           .superseded = superseded});
    }
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  return wanted;
}

absl::StatusOr<std::map<std::string, int64_t>> FleetService::Revisions() {
  std::map<std::string, int64_t> revisions;
  POSTERN_RETURN_IF_ERROR(database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(revisions, WantedRevisions(transaction));
    return absl::OkStatus();
  }));
  return revisions;
}

absl::Status FleetService::Take(const AgentStream& stream, const Report& report) {
  const absl::Status written = database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, VmOfStream(transaction, stream));
    const absl::Time now = clock_.Read().wall;
    Taking taking(transaction, row, report.revision, now);
    for (const ReportedGrant& grant : report.grants) {
      POSTERN_RETURN_IF_ERROR(taking.Take(grant));
    }
    // An agent cannot have what was not wanted yet.
    row.applied_revision = std::clamp(report.revision, row.applied_revision, row.wanted_revision);
    row.last_seen = now;
    return PutVmRow(transaction, row);
  });
  RecordRefusal(written, "Postern/grants/report", stream.vm);
  return written;
}

}  // namespace postern::controller
