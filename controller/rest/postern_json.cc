#include "controller/rest/postern_json.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/csv.h"
#include "controller/rest/azure_json.h"

namespace postern::controller {
namespace {

using Json = nlohmann::json;

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

Json TimeJson(const std::optional<absl::Time>& time) {
  return time ? Json(TimeText(*time)) : Json(nullptr);
}

std::vector<std::string> Texts(const Sources& sources) {
  if (sources.any()) return {"*"};
  std::vector<std::string> texts;
  for (const Prefix& prefix : sources.prefixes) texts.push_back(prefix.ToString());
  return texts;
}

absl::string_view ProtocolName(RuleProtocol protocol) {
  switch (protocol) {
    case RuleProtocol::kTcp:
      return "tcp";
    case RuleProtocol::kUdp:
      return "udp";
    case RuleProtocol::kAny:
      return "any";
  }
  return "";
}

absl::string_view GroupName(VmGroup group) {
  switch (group) {
    case VmGroup::kConfigured:
      return "configured";
    case VmGroup::kNotConfigured:
      return "not_configured";
    case VmGroup::kUnsupported:
      return "unsupported";
  }
  return "";
}

Json PortJson(const RequestedPort& port) {
  return {{"vm", port.vm.ToString()},
          {"port", absl::StrCat(port.number, "/", ProtocolName(port.protocol))},
          {"source_prefixes", Texts(port.sources)},
          {"duration", IsoDuration(port.duration)},
          {"end_time", TimeJson(port.end)},
          {"status", StatusName(port.status)},
          {"status_reason", ReasonName(port.reason)},
          {"detail", port.detail},
          {"grant_id", port.grant_id},
          {"mapped_port", port.mapped_port ? Json(*port.mapped_port) : Json(nullptr)},
          {"applied_time", TimeJson(port.applied)},
          {"closed_time", TimeJson(port.closed)},
          {"end_confirmed", port.end_told},
          {"usage",
           {{"packets", port.usage.packets},
            {"bytes", port.usage.bytes},
            {"first_used", TimeJson(port.usage.first_used)},
            {"last_used", TimeJson(port.usage.last_used)}}}};
}

}  // namespace

Json ToJson(const Request& request) {
  Json ports = Json::array();
  for (const RequestedPort& port : request.ports) ports.push_back(PortJson(port));
  return {{"id", request.id},
          {"policy", request.policy.ToString()},
          {"requestor", request.requestor},
          {"justification", request.justification},
          {"start_time", TimeText(request.start)},
          {"ports", std::move(ports)},
          {"approvals_needed", request.approvals_needed},
          {"approver_role", request.approver_role},
          {"approved_by", request.approved_by}};
}

Json ToJson(const VmView& vm) {
  return {{"id", vm.id.ToString()},
          {"name", vm.id.name},
          {"location", vm.location},
          {"group", GroupName(vm.group)},
          {"reason", vm.reason},
          {"attached", vm.attached},
          {"last_seen", TimeJson(vm.last_seen)},
          {"agent_version", vm.agent_version},
          {"requests_of_seven_days", vm.requests_of_seven_days},
          {"last_access", TimeJson(vm.last_access)},
          {"last_user", vm.last_user},
          {"clock_skew_seconds", absl::ToDoubleSeconds(vm.clock_skew)}};
}

Json ToJson(const JoinToken& token) {
  return {{"id", token.id},
          {"scope", token.scope.ToString()},
          {"location", token.location},
          {"uses_left", token.uses_left},
          {"created", TimeText(token.created)},
          {"expires", TimeText(token.expires)},
          {"created_by", token.created_by},
          {"revoked", token.revoked}};
}

Json ToJson(const AccessToken& token) {
  return {{"id", token.id},
          {"principal", token.principal},
          {"created", TimeText(token.created)},
          {"expires", TimeText(token.expires)},
          {"created_by", token.created_by},
          {"revoked", token.revoked}};
}

Json ToJson(const RoleAssignment& assignment) {
  return {{"principal", assignment.principal},
          {"role", RoleName(assignment.role)},
          {"scope", assignment.scope.ToString()}};
}

Json ToJson(const AuditRow& row) {
  Json detail = Json::parse(row.detail, nullptr, /*allow_exceptions=*/false);
  return {{"number", row.number},
          {"time", TimeText(row.time)},
          {"operation", row.operation},
          {"status", row.status},
          {"caller", row.caller},
          {"target", row.target},
          {"correlation_id", row.correlation_id},
          {"detail", detail.is_discarded() ? Json(row.detail) : std::move(detail)},
          {"previous_hash", row.previous_hash},
          {"hash", row.hash}};
}

std::string AuditCsvHeader() {
  return CsvLine({"number", "time", "operation", "status", "caller", "target", "correlation_id",
                  "detail", "hash"});
}

std::string AuditCsvLine(const AuditRow& row) {
  return CsvLine({absl::StrCat(row.number), TimeText(row.time), row.operation, row.status,
                  row.caller, row.target, row.correlation_id, row.detail, row.hash});
}

}  // namespace postern::controller
