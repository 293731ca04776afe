#include "controller/service/fleet_service.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/pki/digest.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/domain/error.h"
#include "controller/service/audit_detail.h"
#include "controller/store/audit.h"
#include "controller/store/controllers.h"
#include "controller/store/principals.h"
#include "controller/store/requests.h"
#include "controller/store/vms.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxVmNameBytes = 64;
constexpr size_t kMaxTokenBytes = 512;
constexpr size_t kMaxFactBytes = 256;
constexpr size_t kMaxReasonBytes = 4096;
constexpr absl::Duration kControllerForgotten = absl::Hours(24);

absl::Status NotKnown(const VmId& vm) {
  return absl::PermissionDeniedError(
      absl::StrCat(vm.ToString(), " is not known to this controller any more; enrol it again"));
}

absl::StatusOr<VmRow> KnownVm(SqlTransaction& transaction, const VmId& vm) {
  POSTERN_ASSIGN_OR_RETURN(std::optional<VmRow> row, FindVmRow(transaction, vm.Key()));
  if (!row) return NotKnown(vm);
  return *std::move(row);
}

absl::Status Append(SqlTransaction& transaction, absl::Time now, absl::string_view operation,
                    const VmId& vm, const AuditDetail& detail,
                    absl::string_view status = "Succeeded") {
  return AppendAudit(transaction, {.time = now,
                                   .operation = std::string(operation),
                                   .status = std::string(status),
                                   .caller = absl::StrCat("agent:", vm.name),
                                   .target = vm.ToString(),
                                   .correlation_id = NewUuid(),
                                   .detail = DetailText(detail)});
}

// The row of a stream's VM, unless the stream is over.
absl::StatusOr<VmRow> VmOfStream(SqlTransaction& transaction, const AgentStream& stream) {
  POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, stream.vm));
  if (row.stream == stream.id) return row;
  return absl::AbortedError("the VM has attached another time");
}

// Whether a certificate of this serial number still speaks for the VM; the one that
// it replaced does no more.
absl::Status UseCertificate(const std::string& serial, VmRow& row) {
  if (!serial.empty() && serial == row.certificate_serial) {
    row.previous_serial.clear();
    return absl::OkStatus();
  }
  if (!serial.empty() && serial == row.previous_serial) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("this certificate of ", row.id.ToString(),
                                                  " was replaced by another; enrol the VM again"));
}

// What an agent says, as far as it is kept.
std::string Bounded(const std::string& text, size_t most) { return text.substr(0, most); }

absl::Status CheckToken(const std::optional<JoinToken>& token, absl::Time now) {
  if (token && !token->revoked && token->uses_left > 0 && now < token->expires) {
    return absl::OkStatus();
  }
  // Which of these it is helps only who should not have it.
  return absl::UnauthenticatedError(
      "the join token is unknown, used up, revoked or over; whoever manages the VM makes another "
      "(POST /postern/v1/join-tokens)");
}

absl::StatusOr<VmId> VmOf(const JoinToken& token, absl::string_view name) {
  // A token for one VM says which: what the host calls itself is its own affair.
  if (token.scope.vm.empty()) {
    POSTERN_RETURN_IF_ERROR(CheckName("virtual machine", name, kMaxVmNameBytes));
  }
  return VmId{.subscription = token.scope.subscription,
              .resource_group = token.scope.resource_group,
              .name = token.scope.vm.empty() ? std::string(name) : token.scope.vm};
}

AuditDetail GrantDetail(const PortRow& row) {
  return {{"request", row.request_id},
          {"grant", row.port.grant_id},
          {"requestor", row.requestor},
          {"port", absl::StrCat(row.port.number)}};
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
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
  Taking(SqlTransaction& transaction, const VmId& vm, absl::Time now)
      : transaction_(transaction), vm_(vm), now_(now) {}

  absl::Status Take(const ReportedGrant& reported) {
    POSTERN_ASSIGN_OR_RETURN(std::optional<PortRow> row, FindPort(transaction_, reported.id));
    if (!row || row->port.vm.Key() != vm_.Key()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the grant ", Bounded(reported.id, kMaxFactBytes), " is not one of ", vm_.ToString()));
    }
    TakeUsage(reported, row->port);
    if (reported.state == ReportedState::kActive) return TakeActive(*row);
    return TakeEnd(reported, *row);
  }

 private:
  absl::Status TakeActive(PortRow& row) {
    if (row.port.status != PortStatus::kInitiating) return Update(row);
    row.port.status = PortStatus::kInitiated;
    if (row.port.applied) return Update(row);
    row.port.applied = now_;
    POSTERN_RETURN_IF_ERROR(Update(row));
    return Append(transaction_, now_, OperationOf(ReportedState::kActive), vm_, GrantDetail(row));
  }

  absl::Status TakeEnd(const ReportedGrant& reported, PortRow& row) {
    RequestedPort& port = row.port;
    // A repeat, after a reconnect, tells nothing new.
    const bool told = row.end_told;
    row.end_told = true;
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
    return Append(transaction_, now_, OperationOf(reported.state), vm_, detail,
                  reported.state == ReportedState::kNotMade ? "Failed" : "Succeeded");
  }

  absl::Status Update(const PortRow& row) { return UpdatePortRow(transaction_, row); }

  SqlTransaction& transaction_;
  const VmId& vm_;
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

FleetService::FleetService(Database& database, const Clock& clock)
    : database_(database), clock_(clock), id_(NewUuid()) {}

absl::StatusOr<VmId> FleetService::Enroll(absl::string_view join_token, absl::string_view name,
                                          const std::string& address) {
  if (join_token.size() > kMaxTokenBytes) {
    return absl::InvalidArgumentError("the join token is too long to be one");
  }
  VmId vm;
  const absl::Status written = database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    const absl::Time now = clock_.Read().wall;
    POSTERN_ASSIGN_OR_RETURN(std::optional<JoinToken> token,
                             FindJoinToken(transaction, Sha256Hex(join_token)));
    POSTERN_RETURN_IF_ERROR(CheckToken(token, now));
    POSTERN_ASSIGN_OR_RETURN(vm, VmOf(*token, name));
    POSTERN_ASSIGN_OR_RETURN(std::optional<VmRow> row, FindVmRow(transaction, vm.Key()));
    if (row && token->scope.vm.empty()) {
      return absl::UnauthenticatedError(absl::StrCat(
          vm.ToString(), " has joined already; a token for it alone lets it in again"));
    }
    if (!row) row = VmRow{.id = vm, .location = token->location};
    row->enrolled = now;
    // Whoever has joined before does not speak for it any more.
    row->certificate_serial.clear();
    row->previous_serial.clear();
    row->stream.clear();
    row->controller.clear();
    POSTERN_RETURN_IF_ERROR(PutVmRow(transaction, *row));
    --token->uses_left;
    POSTERN_RETURN_IF_ERROR(PutJoinToken(transaction, *token));
    return Append(transaction, now, "Postern/virtualMachines/enroll", vm,
                  {{"join_token", token->id}, {"address", address}});
  });
  POSTERN_RETURN_IF_ERROR(written);
  return vm;
}

absl::Status FleetService::RecordCertificate(const VmId& vm, const std::string& serial,
                                             absl::Time expires, const std::string& renewed) {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, vm));
    row.certificate_serial = serial;
    row.previous_serial = renewed;
    row.certificate_expires = expires;
    POSTERN_RETURN_IF_ERROR(PutVmRow(transaction, row));
    return Append(transaction, clock_.Read().wall, "Postern/virtualMachines/certificate", vm,
                  {{"serial", serial}, {"expires", TimeText(expires)}});
  });
}

absl::Status FleetService::CheckCertificate(const VmId& vm, const std::string& serial) {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, vm));
    POSTERN_RETURN_IF_ERROR(UseCertificate(serial, row));
    return PutVmRow(transaction, row);
  });
}

absl::Status FleetService::KeepAlive() {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    const absl::Time now = clock_.Read().wall;
    POSTERN_RETURN_IF_ERROR(DeleteControllersBefore(transaction, now - kControllerForgotten));
    return PutController(transaction, id_, now);
  });
}

absl::Status FleetService::Attached(const AgentStream& stream, const std::string& serial,
                                    const AgentFacts& facts) {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
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
      if (IsWanted(port, now)) wanted.grants.push_back(controller::WantedOf(std::move(port)));
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
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, VmOfStream(transaction, stream));
    const absl::Time now = clock_.Read().wall;
    Taking taking(transaction, stream.vm, now);
    for (const ReportedGrant& grant : report.grants) {
      POSTERN_RETURN_IF_ERROR(taking.Take(grant));
    }
    // An agent cannot have what was not wanted yet.
    row.applied_revision = std::clamp(report.revision, row.applied_revision, row.wanted_revision);
    row.last_seen = now;
    return PutVmRow(transaction, row);
  });
}

}  // namespace postern::controller
