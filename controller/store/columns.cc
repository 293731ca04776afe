#include "controller/store/columns.h"

#include <nlohmann/json.hpp>

#include "common/prefix.h"
#include "common/status.h"

namespace postern::controller {
namespace {

using Json = nlohmann::json;

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the store holds ", what, " that cannot be read"));
}

Json SourcesJson(const Sources& sources) {
  Json prefixes = Json::array();
  for (const Prefix& prefix : sources.prefixes) prefixes.push_back(prefix.ToString());
  return {{"prefixes", std::move(prefixes)}, {"listed", sources.listed}};
}

absl::StatusOr<Sources> SourcesOf(const Json& json) {
  Sources sources{.listed = json.at("listed").get<bool>()};
  for (const Json& text : json.at("prefixes")) {
    POSTERN_ASSIGN_OR_RETURN(const Prefix prefix, Prefix::Parse(text.get<std::string>()));
    sources.prefixes.push_back(prefix);
  }
  return sources;
}

Json RuleJson(const PortRule& rule) {
  return {{"number", rule.number},
          {"protocol", static_cast<int>(rule.protocol)},
          {"max_duration_us", absl::ToInt64Microseconds(rule.max_duration)},
          {"sources", SourcesJson(rule.allowed_sources)}};
}

absl::StatusOr<PortRule> RuleOf(const Json& json) {
  PortRule rule{.number = json.at("number").get<uint16_t>(),
                .protocol = static_cast<RuleProtocol>(json.at("protocol").get<int>()),
                .max_duration = absl::Microseconds(json.at("max_duration_us").get<int64_t>())};
  POSTERN_ASSIGN_OR_RETURN(rule.allowed_sources, SourcesOf(json.at("sources")));
  return rule;
}

absl::StatusOr<PolicyVm> VmOf(const Json& json) {
  PolicyVm vm;
  POSTERN_ASSIGN_OR_RETURN(vm.id, VmId::Parse(json.at("id").get<std::string>()));
  vm.public_ip_address = json.at("public_ip_address").get<std::string>();
  for (const Json& rule : json.at("ports")) {
    POSTERN_ASSIGN_OR_RETURN(PortRule read, RuleOf(rule));
    vm.ports.push_back(std::move(read));
  }
  return vm;
}

absl::Status ReadBody(const Json& json, Policy& policy) {
  const Json& additions = json.at("additions");
  policy.additions = {
      .on_expiry = static_cast<PolicyOnExpiry>(additions.at("on_expiry").get<int>()),
      .justification_required = additions.at("justification_required").get<bool>(),
      .approvals = additions.at("approvals").get<int>(),
      .approver_role = additions.at("approver_role").get<std::string>()};
  for (const Json& vm : json.at("vms")) {
    POSTERN_ASSIGN_OR_RETURN(PolicyVm read, VmOf(vm));
    policy.vms.push_back(std::move(read));
  }
  return absl::OkStatus();
}

// Runs `read` on what `text` holds; nlohmann-json tells of what is missing by
// exceptions, which end here.
template <typename Read>
auto Parsed(const std::string& text, absl::string_view what, Read read)
    -> decltype(read(std::declval<Json>())) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception&) {
    return Damaged(what);
  }
}

}  // namespace

SqlValue TimeValue(absl::Time time) { return absl::ToUnixMicros(time); }

SqlValue TimeValue(const std::optional<absl::Time>& time) {
  return time ? TimeValue(*time) : SqlValue(std::monostate());
}

absl::Time TimeOf(const SqlRow& row, size_t column) {
  return absl::FromUnixMicros(row.Int(column));
}

std::optional<absl::Time> OptionalTimeOf(const SqlRow& row, size_t column) {
  if (row.IsNull(column)) return std::nullopt;
  return TimeOf(row, column);
}

SqlValue DurationValue(absl::Duration duration) { return absl::ToInt64Microseconds(duration); }

absl::Duration DurationOf(const SqlRow& row, size_t column) {
  return absl::Microseconds(row.Int(column));
}

std::string PolicyBody(const Policy& policy) {
  Json vms = Json::array();
  for (const PolicyVm& vm : policy.vms) {
    Json ports = Json::array();
    for (const PortRule& rule : vm.ports) ports.push_back(RuleJson(rule));
    vms.push_back({{"id", vm.id.ToString()},
                   {"ports", std::move(ports)},
                   {"public_ip_address", vm.public_ip_address}});
  }
  const PolicyAdditions& additions = policy.additions;
  return Json{{"vms", std::move(vms)},
              {"additions",
               {{"on_expiry", static_cast<int>(additions.on_expiry)},
                {"justification_required", additions.justification_required},
                {"approvals", additions.approvals},
                {"approver_role", additions.approver_role}}}}
      .dump();
}

absl::Status ReadPolicyBody(const std::string& body, Policy& policy) {
  return Parsed(body, "a policy", [&policy](const Json& json) { return ReadBody(json, policy); });
}

std::string SourcesText(const Sources& sources) { return SourcesJson(sources).dump(); }

absl::StatusOr<Sources> ReadSources(const std::string& text) {
  return Parsed(text, "the sources of a request", SourcesOf);
}

std::string NamesText(const std::vector<std::string>& names) { return Json(names).dump(); }

absl::StatusOr<std::vector<std::string>> ReadNames(const std::string& text) {
  return Parsed(text, "a list of names",
                [](const Json& json) -> absl::StatusOr<std::vector<std::string>> {
                  return json.get<std::vector<std::string>>();
                });
}

}  // namespace postern::controller
