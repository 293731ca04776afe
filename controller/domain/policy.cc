#include "controller/domain/policy.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/duration.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/domain/role.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxNamesTogether = 56;
constexpr size_t kMaxPublicAddressBytes = 64;
constexpr int kMaxApprovals = 10;

absl::Status Wrong(absl::string_view message, absl::string_view target) {
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidPolicyInput", message, target);
}

absl::Status CheckRule(const PortRule& rule, const std::string& target) {
  if (rule.number == 0) {
    return Wrong("port 0 cannot be opened; a port is a number from 1 to 65535", target);
  }
  if (rule.max_duration < kShortestMaximum || rule.max_duration > kLongestMaximum) {
    return Wrong(absl::StrCat("maxRequestAccessDuration of port ", rule.number, " is ",
                              DurationText(rule.max_duration), "; it is from PT5M to P1D"),
                 target);
  }
  if (rule.allowed_sources.prefixes.size() > kMaxRuleSources) {
    return Wrong(absl::StrCat("port ", rule.number, " lists ", rule.allowed_sources.prefixes.size(),
                              " source prefixes; the most is ", kMaxRuleSources),
                 target);
  }
  return absl::OkStatus();
}

absl::Status CheckRules(const PolicyVm& vm, const std::string& target) {
  if (vm.ports.empty()) return Wrong(absl::StrCat("lists no ports for ", vm.id.name), target);
  if (vm.ports.size() > kMaxPolicyPorts) {
    return Wrong(absl::StrCat("lists ", vm.ports.size(), " ports for ", vm.id.name,
                              "; the most is ", kMaxPolicyPorts),
                 target);
  }
  for (size_t i = 0; i < vm.ports.size(); ++i) {
    const PortRule& rule = vm.ports[i];
    POSTERN_RETURN_IF_ERROR(CheckRule(rule, absl::StrCat(target, ".ports[", i, "]")));
    for (size_t j = 0; j < i; ++j) {
      if (vm.ports[j].number == rule.number) {
        return Wrong(absl::StrCat("lists port ", rule.number, " twice for ", vm.id.name,
                                  "; a request names a port by its number alone: use protocol *"),
                     absl::StrCat(target, ".ports[", i, "]"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckVm(const Policy& policy, const PolicyVm& vm, const std::string& target) {
  if (!absl::EqualsIgnoreCase(vm.id.subscription, policy.id.subscription) ||
      !absl::EqualsIgnoreCase(vm.id.resource_group, policy.id.resource_group)) {
    return Wrong(absl::StrCat(vm.id.ToString(), " is not in the policy's resource group ",
                              policy.id.resource_group, "; make a policy there"),
                 target);
  }
  if (policy.id.name.size() + vm.id.name.size() > kMaxNamesTogether) {
    return Wrong(absl::StrCat("the names of the policy and of ", vm.id.name, " have ",
                              policy.id.name.size() + vm.id.name.size(),
                              " characters together; the most is ", kMaxNamesTogether),
                 target);
  }
  if (vm.public_ip_address.size() > kMaxPublicAddressBytes) {
    return Wrong("publicIpAddress is too long for an address", target);
  }
  return CheckRules(vm, target);
}

absl::Status CheckAdditions(const PolicyAdditions& additions) {
  if (additions.approvals < 0 || additions.approvals > kMaxApprovals) {
    return Wrong(absl::StrCat("approvals.count is ", additions.approvals, "; it is from 0 to ",
                              kMaxApprovals),
                 "properties.postern.approvals.count");
  }
  if (additions.approvals == 0) return absl::OkStatus();
  return Annotate(ParseRole(additions.approver_role).status(), "properties.postern.approvals.role");
}

}  // namespace

std::vector<PortRule> RecommendedPorts() {
  std::vector<PortRule> ports;
  for (const uint16_t number : {22, 3389, 5985, 5986}) {
    ports.push_back({.number = number, .max_duration = absl::Hours(3)});
  }
  return ports;
}

bool Sources::Contains(const Prefix& prefix) const {
  return any() || std::any_of(prefixes.begin(), prefixes.end(),
                              [&](const Prefix& mine) { return mine.Contains(prefix); });
}

absl::Status CheckPolicy(const Policy& policy) {
  constexpr size_t kMaxNameBytes = 64;
  constexpr size_t kMaxGroupBytes = 90;
  POSTERN_RETURN_IF_ERROR(CheckName("resource group", policy.id.resource_group, kMaxGroupBytes));
  POSTERN_RETURN_IF_ERROR(CheckName("location", policy.id.location, kMaxNameBytes));
  POSTERN_RETURN_IF_ERROR(CheckName("policy", policy.id.name, kMaxNameBytes));
  POSTERN_RETURN_IF_ERROR(CheckAdditions(policy.additions));
  if (policy.vms.size() > kMaxPolicyVms) {
    return Wrong(
        absl::StrCat("lists ", policy.vms.size(), " virtual machines; the most is ", kMaxPolicyVms),
        "properties.virtualMachines");
  }
  std::set<std::string> seen;
  for (size_t i = 0; i < policy.vms.size(); ++i) {
    const std::string target = absl::StrCat("properties.virtualMachines[", i, "]");
    POSTERN_RETURN_IF_ERROR(CheckVm(policy, policy.vms[i], target));
    if (!seen.insert(policy.vms[i].id.Key()).second) {
      return Wrong(absl::StrCat("lists ", policy.vms[i].id.name, " twice"), target);
    }
  }
  return absl::OkStatus();
}

const PolicyVm* FindVm(const Policy& policy, const VmId& vm) {
  const std::string key = vm.Key();
  for (const PolicyVm& one : policy.vms) {
    if (one.id.Key() == key) return &one;
  }
  return nullptr;
}

}  // namespace postern::controller
