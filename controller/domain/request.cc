#include "controller/domain/request.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

constexpr std::array<std::pair<PortStatus, absl::string_view>, 4> kStatusNames = {{
    {PortStatus::kPending, "Pending"},
    {PortStatus::kInitiating, "Initiating"},
    {PortStatus::kInitiated, "Initiated"},
    {PortStatus::kRevoked, "Revoked"},
}};

constexpr std::array<std::pair<EndReason, absl::string_view>, 9> kReasonNames = {{
    {EndReason::kNone, ""},
    {EndReason::kUserRequested, "UserRequested"},
    {EndReason::kExpired, "Expired"},
    {EndReason::kNewerRequestInitiated, "NewerRequestInitiated"},
    {EndReason::kPolicyDeleted, "PolicyDeleted"},
    {EndReason::kRefusedByAgent, "RefusedByAgent"},
    {EndReason::kNeverApplied, "NeverApplied"},
    {EndReason::kDenied, "Denied"},
    {EndReason::kLapsed, "Lapsed"},
}};

absl::Status Wrong(absl::string_view message, absl::string_view target) {
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidInitiateInput", message, target);
}

// What the policy does not allow is the same error for Azure's clients.
absl::Status Beyond(absl::string_view message, absl::string_view target) {
  return CodedError(absl::StatusCode::kFailedPrecondition, "InvalidInitiateInput", message, target);
}

std::string UtcText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

const PortRule* FindRule(const PolicyVm& vm, uint16_t number) {
  for (const PortRule& rule : vm.ports) {
    if (rule.number == number) return &rule;
  }
  return nullptr;
}

absl::StatusOr<absl::Duration> DurationOf(const AskedPort& asked, const PortRule& rule,
                                          absl::Time now, const std::string& target) {
  if (asked.end.has_value() == asked.duration.has_value()) {
    return Wrong(absl::StrCat("port ", asked.number,
                              asked.end ? " has both endTimeUtc and duration; give one"
                                        : " has neither endTimeUtc nor duration; give one"),
                 target);
  }
  const absl::Duration duration = asked.duration ? *asked.duration : *asked.end - now;
  if (duration <= absl::ZeroDuration()) {
    return Wrong(absl::StrCat("the end asked for port ", asked.number,
                              " is not in the future; it is ", UtcText(now), " now"),
                 target);
  }
  if (duration < kShortestRequest) {
    return Wrong(absl::StrCat("port ", asked.number, " is asked for less than a minute"), target);
  }
  if (duration > rule.max_duration) {
    const std::string asked_for =
        asked.end ? absl::StrCat("until ", UtcText(*asked.end)) : DurationText(duration);
    return Beyond(absl::StrCat("port ", asked.number, " is asked for ", asked_for,
                               "; the policy allows at most ", DurationText(rule.max_duration),
                               ", now until ", UtcText(now + rule.max_duration)),
                  target);
  }
  return duration;
}

absl::StatusOr<Sources> SourcesOf(const AskedPort& asked, const PortRule& rule,
                                  const std::optional<Address>& own_address,
                                  const std::string& target) {
  Sources sources;
  if (asked.sources) {
    sources = *asked.sources;
  } else if (own_address) {
    sources.prefixes = {Prefix::Host(*own_address)};
  } else {
    return Wrong(absl::StrCat("port ", asked.number,
                              " names no source, and the caller's own address is not known"),
                 target);
  }
  if (sources.prefixes.size() > kMaxRuleSources) {
    return Wrong(absl::StrCat("port ", asked.number, " names ", sources.prefixes.size(),
                              " source prefixes; the most is ", kMaxRuleSources),
                 target);
  }
  if (sources.any() && !rule.allowed_sources.any()) {
    return Beyond(absl::StrCat("port ", asked.number,
                               " is asked for any source; the policy allows only some"),
                  target);
  }
  for (const Prefix& prefix : sources.prefixes) {
    if (!rule.allowed_sources.Contains(prefix)) {
      return Beyond(absl::StrCat("the policy does not allow port ", asked.number, " from ",
                                 prefix.ToString()),
                    target);
    }
  }
  return sources;
}

absl::StatusOr<RequestedPort> DecidePort(const Policy& policy, const PolicyVm& vm,
                                         const AskedPort& asked,
                                         const std::optional<Address>& own_address, absl::Time now,
                                         const std::string& target) {
  const PortRule* rule = FindRule(vm, asked.number);
  if (rule == nullptr) {
    return Beyond(absl::StrCat("port ", asked.number, " of ", vm.id.name, " is not in the policy ",
                               policy.id.name),
                  target);
  }
  RequestedPort port{.vm = vm.id, .number = asked.number, .protocol = rule->protocol};
  POSTERN_ASSIGN_OR_RETURN(port.duration, DurationOf(asked, *rule, now, target));
  POSTERN_ASSIGN_OR_RETURN(port.sources, SourcesOf(asked, *rule, own_address, target));
  port.on_expiry = policy.additions.on_expiry;
  if (policy.additions.approvals > 0) {
    port.status = PortStatus::kPending;
  } else {
    port.end = asked.end ? *asked.end : now + port.duration;
  }
  return port;
}

absl::Status DecideVm(const Policy& policy, const AskedVm& asked,
                      const std::optional<Address>& own_address, absl::Time now,
                      const std::string& target, Request& request) {
  const PolicyVm* vm = FindVm(policy, asked.id);
  if (vm == nullptr) {
    return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                      absl::StrCat(asked.id.ToString(), " is not in the policy ", policy.id.name),
                      target);
  }
  if (asked.ports.empty()) return Wrong(absl::StrCat("asks for no port of ", vm->id.name), target);
  if (asked.ports.size() > kMaxPolicyPorts) {
    return Wrong(absl::StrCat("asks for ", asked.ports.size(), " ports of ", vm->id.name,
                              "; the most is ", kMaxPolicyPorts),
                 target);
  }
  std::set<uint16_t> seen;
  for (size_t i = 0; i < asked.ports.size(); ++i) {
    const std::string at = absl::StrCat(target, ".ports[", i, "]");
    if (!seen.insert(asked.ports[i].number).second) {
      return Wrong(absl::StrCat("asks twice for port ", asked.ports[i].number, " of ", vm->id.name),
                   at);
    }
    POSTERN_ASSIGN_OR_RETURN(RequestedPort port,
                             DecidePort(policy, *vm, asked.ports[i], own_address, now, at));
    request.ports.push_back(std::move(port));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Request> DecideRequest(const Policy& policy, const Asked& asked,
                                      const std::optional<Address>& own_address, absl::Time now) {
  POSTERN_RETURN_IF_ERROR(CheckJustification(policy, asked.justification));
  if (asked.vms.empty()) return Wrong("asks for no virtual machine", "virtualMachines");
  if (asked.vms.size() > kMaxPolicyVms) {
    return Wrong(absl::StrCat("asks for ", asked.vms.size(), " virtual machines; the most is ",
                              kMaxPolicyVms),
                 "virtualMachines");
  }
  Request request{.policy = policy.id,
                  .justification = asked.justification,
                  .start = now,
                  .approvals_needed = policy.additions.approvals,
                  .approver_role = policy.additions.approver_role};
  std::set<std::string> seen;
  for (size_t i = 0; i < asked.vms.size(); ++i) {
    const std::string target = absl::StrCat("virtualMachines[", i, "]");
    if (!seen.insert(asked.vms[i].id.Key()).second) {
      return Wrong(absl::StrCat("asks twice for ", asked.vms[i].id.name), target);
    }
    POSTERN_RETURN_IF_ERROR(DecideVm(policy, asked.vms[i], own_address, now, target, request));
  }
  return request;
}

absl::Status CheckJustification(const Policy& policy, const std::string& justification) {
  if (justification.size() > kMaxJustificationBytes) {
    return Wrong(absl::StrCat("the justification has ", justification.size(),
                              " bytes; the most is ", kMaxJustificationBytes),
                 "justification");
  }
  if (!IsUtf8(justification)) return Wrong("the justification is not UTF-8", "justification");
  if (policy.additions.justification_required &&
      absl::StripAsciiWhitespace(justification).empty()) {
    return Wrong(absl::StrCat("the policy ", policy.id.name, " wants a justification"),
                 "justification");
  }
  return absl::OkStatus();
}

absl::Status CheckReason(const std::string& reason) {
  if (reason.size() > kMaxJustificationBytes || !IsUtf8(reason)) {
    return CodedError(
        absl::StatusCode::kInvalidArgument, "InvalidRequestContent",
        absl::StrCat("a reason is at most ", kMaxJustificationBytes, " bytes of UTF-8"), "reason");
  }
  return absl::OkStatus();
}

absl::string_view StatusName(PortStatus status) {
  return kStatusNames[static_cast<size_t>(status)].second;
}

absl::string_view ReasonName(EndReason reason) {
  return kReasonNames[static_cast<size_t>(reason)].second;
}

}  // namespace postern::controller
