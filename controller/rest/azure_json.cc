#include "controller/rest/azure_json.h"

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"
#include "controller/domain/role.h"
#include "controller/rest/json_reading.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxIdBytes = 512;
constexpr size_t kMaxAddressBytes = 64;
constexpr size_t kMaxRoleBytes = 64;

constexpr std::array<std::pair<RuleProtocol, absl::string_view>, 3> kProtocols = {{
    {RuleProtocol::kTcp, "TCP"},
    {RuleProtocol::kUdp, "UDP"},
    {RuleProtocol::kAny, "*"},
}};

constexpr std::array<std::pair<PolicyOnExpiry, absl::string_view>, 3> kOnExpiry = {{
    {PolicyOnExpiry::kKeep, "keep"},
    {PolicyOnExpiry::kCut, "cut"},
    {PolicyOnExpiry::kReset, "reset"},
}};

std::string Item(const std::string& at, absl::string_view list, size_t index) {
  return absl::StrCat(NameIn(at, list), "[", index, "]");
}

absl::StatusOr<RuleProtocol> ReadProtocol(const Json& object, const std::string& at) {
  POSTERN_ASSIGN_OR_RETURN(const std::string text, NeedText(object, "protocol", at, 8));
  for (const auto& [protocol, name] : kProtocols) {
    if (absl::EqualsIgnoreCase(text, name)) return protocol;
  }
  return WrongContent(
      absl::StrCat("\"protocol\" is \"", Printable(text), "\"; it is TCP, UDP or *"),
      NameIn(at, "protocol"));
}

absl::StatusOr<PortRule> ReadRule(const Json& object, const std::string& at) {
  if (!object.is_object()) return WrongContent("a port is an object", at);
  PortRule rule;
  POSTERN_ASSIGN_OR_RETURN(rule.number, NeedPort(object, "number", at));
  POSTERN_ASSIGN_OR_RETURN(rule.protocol, ReadProtocol(object, at));
  POSTERN_ASSIGN_OR_RETURN(const std::optional<absl::Duration> longest,
                           ReadIsoDuration(object, "maxRequestAccessDuration", at));
  if (!longest) return WrongContent("\"maxRequestAccessDuration\" is missing", at);
  rule.max_duration = *longest;
  POSTERN_ASSIGN_OR_RETURN(std::optional<Sources> sources, ReadSources(object, at));
  if (!sources) {
    return WrongContent(
        "a port wants allowedSourceAddressPrefix or allowedSourceAddressPrefixes; * is any source",
        at);
  }
  rule.allowed_sources = *std::move(sources);
  return rule;
}

absl::StatusOr<VmId> ReadVmId(const Json& object, const std::string& at) {
  if (!object.is_object()) return WrongContent("a virtual machine is an object", at);
  POSTERN_ASSIGN_OR_RETURN(const std::string text, NeedText(object, "id", at, kMaxIdBytes));
  return VmId::Parse(text);
}

absl::StatusOr<PolicyVm> ReadPolicyVm(const Json& object, const std::string& at) {
  PolicyVm vm;
  POSTERN_ASSIGN_OR_RETURN(vm.id, ReadVmId(object, at));
  POSTERN_ASSIGN_OR_RETURN(vm.public_ip_address,
                           ReadText(object, "publicIpAddress", at, kMaxAddressBytes));
  POSTERN_ASSIGN_OR_RETURN(const Json* ports, FindList(object, "ports", at, kMaxPolicyPorts));
  if (ports == nullptr) return WrongContent("\"ports\" is missing", NameIn(at, "ports"));
  for (size_t i = 0; i < ports->size(); ++i) {
    POSTERN_ASSIGN_OR_RETURN(PortRule rule, ReadRule((*ports)[i], Item(at, "ports", i)));
    vm.ports.push_back(std::move(rule));
  }
  return vm;
}

absl::StatusOr<PolicyOnExpiry> ReadOnExpiry(const Json& object, const std::string& at) {
  POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadText(object, "onExpiry", at, 8));
  if (text.empty()) return PolicyOnExpiry::kUnset;
  for (const auto& [on_expiry, name] : kOnExpiry) {
    if (text == name) return on_expiry;
  }
  return WrongContent("\"onExpiry\" is keep, cut or reset", NameIn(at, "onExpiry"));
}

absl::StatusOr<PolicyAdditions> ReadAdditions(const Json& object, const std::string& at) {
  PolicyAdditions additions;
  POSTERN_RETURN_IF_ERROR(
      CheckMembers(object, {"approvals", "onExpiry", "requireJustification"}, at));
  POSTERN_ASSIGN_OR_RETURN(additions.on_expiry, ReadOnExpiry(object, at));
  if (const Json* required = FindMember(object, "requireJustification")) {
    if (!required->is_boolean()) {
      return WrongContent("\"requireJustification\" is true or false", at);
    }
    additions.justification_required = required->get<bool>();
  }
  const Json* approvals = FindMember(object, "approvals");
  if (approvals == nullptr) return additions;
  const std::string approvals_at = NameIn(at, "approvals");
  if (!approvals->is_object()) return WrongContent("\"approvals\" is no object", approvals_at);
  POSTERN_RETURN_IF_ERROR(CheckMembers(*approvals, {"count", "role"}, approvals_at));
  const Json* count = FindMember(*approvals, "count");
  if (count == nullptr || !count->is_number_integer() || *count < 0 || *count > 100) {
    return WrongContent("\"count\" is missing or no small number", NameIn(approvals_at, "count"));
  }
  additions.approvals = count->get<int>();
  // Nobody's approval: whose it would be says nothing.
  if (additions.approvals == 0) return additions;
  POSTERN_ASSIGN_OR_RETURN(additions.approver_role,
                           NeedText(*approvals, "role", approvals_at, kMaxRoleBytes));
  return additions;
}

absl::StatusOr<AskedPort> ReadAskedPort(const Json& object, const std::string& at) {
  if (!object.is_object()) return WrongContent("a port is an object", at);
  AskedPort port;
  POSTERN_ASSIGN_OR_RETURN(port.number, NeedPort(object, "number", at));
  POSTERN_ASSIGN_OR_RETURN(port.end, ReadTime(object, "endTimeUtc", at));
  POSTERN_ASSIGN_OR_RETURN(port.duration, ReadIsoDuration(object, "duration", at));
  POSTERN_ASSIGN_OR_RETURN(port.sources, ReadSources(object, at));
  return port;
}

absl::StatusOr<AskedVm> ReadAskedVm(const Json& object, const std::string& at) {
  AskedVm vm;
  POSTERN_ASSIGN_OR_RETURN(vm.id, ReadVmId(object, at));
  POSTERN_ASSIGN_OR_RETURN(const Json* ports, FindList(object, "ports", at, kMaxPolicyPorts));
  if (ports == nullptr) return vm;
  for (size_t i = 0; i < ports->size(); ++i) {
    POSTERN_ASSIGN_OR_RETURN(AskedPort port, ReadAskedPort((*ports)[i], Item(at, "ports", i)));
    vm.ports.push_back(std::move(port));
  }
  return vm;
}

template <typename T>
absl::string_view NameOf(T value, const auto& names) {
  for (const auto& [one, name] : names) {
    if (one == value) return name;
  }
  return "";
}

void PutSources(const Sources& sources, Json& object) {
  std::vector<std::string> texts;
  for (const Prefix& prefix : sources.prefixes) texts.push_back(prefix.ToString());
  if (sources.any()) texts = {"*"};
  if (sources.listed || texts.size() > 1) {
    object["allowedSourceAddressPrefixes"] = texts;
  } else {
    object["allowedSourceAddressPrefix"] = texts[0];
  }
}

Json RuleJson(const PortRule& rule) {
  Json json = {{"number", rule.number},
               {"protocol", NameOf(rule.protocol, kProtocols)},
               {"maxRequestAccessDuration", IsoDuration(rule.max_duration)}};
  PutSources(rule.allowed_sources, json);
  return json;
}

Json PolicyVmJson(const PolicyVm& vm) {
  Json json = {{"id", vm.id.ToString()}, {"ports", Json::array()}};
  for (const PortRule& rule : vm.ports) json["ports"].push_back(RuleJson(rule));
  if (!vm.public_ip_address.empty()) json["publicIpAddress"] = vm.public_ip_address;
  return json;
}

// Empty where nothing is set: Azure's clients see what they know.
Json AdditionsJson(const PolicyAdditions& additions) {
  Json json = Json::object();
  if (additions.on_expiry != PolicyOnExpiry::kUnset) {
    json["onExpiry"] = NameOf(additions.on_expiry, kOnExpiry);
  }
  if (additions.justification_required) json["requireJustification"] = true;
  if (additions.approvals > 0) {
    json["approvals"] = {{"count", additions.approvals}, {"role", additions.approver_role}};
  }
  return json;
}

Json RequestedPortJson(const RequestedPort& port, absl::Time start) {
  const bool over = port.status == PortStatus::kRevoked;
  // What Azure tells of one that is open: that somebody wanted it.
  const absl::string_view reason = over ? ReasonName(port.reason) : "UserRequested";
  Json json = {{"number", port.number},
               {"endTimeUtc", AzureTime(port.end.value_or(start + port.duration))},
               {"status", StatusName(port.status)},
               {"statusReason", reason}};
  PutSources(port.sources, json);
  if (port.mapped_port) json["mappedPort"] = *port.mapped_port;
  if (!port.detail.empty()) json["postern"] = {{"detail", port.detail}};
  return json;
}

}  // namespace

std::string AzureTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E7SZ", time, absl::UTCTimeZone());
}

std::string IsoDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  const int64_t days = seconds / 86400;
  const int64_t rest = seconds % 86400;
  std::string text = "P";
  if (days > 0) absl::StrAppend(&text, days, "D");
  if (rest == 0 && days > 0) return text;
  absl::StrAppend(&text, "T");
  if (rest >= 3600) absl::StrAppend(&text, rest / 3600, "H");
  if (rest % 3600 >= 60) absl::StrAppend(&text, rest % 3600 / 60, "M");
  if (rest % 60 > 0 || rest == 0) absl::StrAppend(&text, rest % 60, "S");
  return text;
}

absl::StatusOr<PolicyChange> ReadPolicy(const PolicyId& id, const Json& body) {
  PolicyChange change{.id = id};
  POSTERN_ASSIGN_OR_RETURN(const std::string kind, ReadText(body, "kind", "", 32));
  if (!kind.empty() && kind != "Basic") return WrongContent("\"kind\" is Basic", "kind");
  POSTERN_ASSIGN_OR_RETURN(const Json* properties, NeedObject(body, "properties", ""));
  const std::string at = "properties";
  POSTERN_ASSIGN_OR_RETURN(const Json* vms,
                           FindList(*properties, "virtualMachines", at, kMaxPolicyVms));
  if (vms == nullptr) {
    return WrongContent("\"virtualMachines\" is missing", NameIn(at, "virtualMachines"));
  }
  for (size_t i = 0; i < vms->size(); ++i) {
    POSTERN_ASSIGN_OR_RETURN(PolicyVm vm, ReadPolicyVm((*vms)[i], Item(at, "virtualMachines", i)));
    change.vms.push_back(std::move(vm));
  }
  if (FindMember(*properties, "postern") != nullptr) {
    POSTERN_ASSIGN_OR_RETURN(const Json* additions, NeedObject(*properties, "postern", at));
    POSTERN_ASSIGN_OR_RETURN(change.additions, ReadAdditions(*additions, NameIn(at, "postern")));
  }
  return change;
}

absl::StatusOr<Asked> ReadAsked(const Json& body) {
  Asked asked;
  // One byte more than a justification may have: which error it is, is decided
  // where the rules are.
  POSTERN_ASSIGN_OR_RETURN(asked.justification,
                           ReadText(body, "justification", "", kMaxJustificationBytes + 1));
  POSTERN_ASSIGN_OR_RETURN(const Json* vms, FindList(body, "virtualMachines", "", kMaxPolicyVms));
  if (vms == nullptr) return asked;
  for (size_t i = 0; i < vms->size(); ++i) {
    POSTERN_ASSIGN_OR_RETURN(AskedVm vm, ReadAskedVm((*vms)[i], Item("", "virtualMachines", i)));
    asked.vms.push_back(std::move(vm));
  }
  return asked;
}

Json RequestJson(const Request& request) {
  Json vms = Json::array();
  std::map<std::string, size_t> places;
  for (const RequestedPort& port : request.ports) {
    const auto [place, is_new] = places.try_emplace(port.vm.Key(), vms.size());
    if (is_new) vms.push_back({{"id", port.vm.ToString()}, {"ports", Json::array()}});
    vms[place->second]["ports"].push_back(RequestedPortJson(port, request.start));
  }
  Json json = {{"virtualMachines", std::move(vms)},
               {"startTimeUtc", AzureTime(request.start)},
               {"requestor", request.requestor},
               {"postern", {{"id", request.id}}}};
  if (!request.justification.empty()) json["justification"] = request.justification;
  if (request.approvals_needed > 0) {
    json["postern"]["approvals"] = {{"needed", request.approvals_needed},
                                    {"role", request.approver_role},
                                    {"by", request.approved_by}};
  }
  return json;
}

Json PolicyJson(const PolicyView& view) {
  const Policy& policy = view.policy;
  Json vms = Json::array();
  for (const PolicyVm& vm : policy.vms) vms.push_back(PolicyVmJson(vm));
  Json requests = Json::array();
  for (const Request& request : view.requests) requests.push_back(RequestJson(request));
  Json properties = {{"virtualMachines", std::move(vms)},
                     {"requests", std::move(requests)},
                     {"provisioningState", "Succeeded"}};
  Json additions = AdditionsJson(policy.additions);
  if (!additions.empty()) properties["postern"] = std::move(additions);
  return {{"id", policy.id.ToString()},
          {"name", policy.id.name},
          {"type", "Microsoft.Security/locations/jitNetworkAccessPolicies"},
          {"kind", "Basic"},
          {"location", policy.id.location},
          {"properties", std::move(properties)}};
}

}  // namespace postern::controller
