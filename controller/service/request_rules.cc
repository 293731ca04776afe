#include "controller/service/request_rules.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/duration.h"
#include "common/pki/digest.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/store/policies.h"

namespace postern::controller {
namespace {

absl::Status NotAllowed(const RequestedPort& port, absl::string_view why) {
  return CodedError(absl::StatusCode::kFailedPrecondition, "InvalidInitiateInput",
                    absl::StrCat("port ", port.number, " of ", port.vm.name, ": ", why));
}

bool IsWithin(const Sources& sources, const Sources& allowed) {
  if (sources.any()) return allowed.any();
  return std::all_of(sources.prefixes.begin(), sources.prefixes.end(),
                     [&](const Prefix& prefix) { return allowed.Contains(prefix); });
}

}  // namespace

bool IsOver(const RequestedPort& port) { return port.status == PortStatus::kRevoked; }

bool IsOver(const Request& request) {
  return std::all_of(request.ports.begin(), request.ports.end(),
                     [](const RequestedPort& port) { return IsOver(port); });
}

std::string DigestOf(const PolicyId& policy, const Asked& asked) {
  std::string text = absl::StrCat(policy.Key(), "\n");
  for (const AskedVm& vm : asked.vms) {
    absl::StrAppend(&text, vm.id.Key(), "\n");
    for (const AskedPort& port : vm.ports) {
      absl::StrAppend(&text, port.number, " ", port.end ? absl::ToUnixNanos(*port.end) : 0, " ",
                      port.duration ? absl::ToInt64Nanoseconds(*port.duration) : 0, " ",
                      port.sources ? SourcesShown(*port.sources) : "own", "\n");
    }
  }
  return Sha256Hex(absl::StrCat(text, "\n", asked.justification));
}

std::string SourcesShown(const Sources& sources) {
  if (sources.any()) return "*";
  return absl::StrJoin(sources.prefixes, " ", [](std::string* out, const Prefix& prefix) {
    absl::StrAppend(out, prefix.ToString());
  });
}

// Whether they may do `action` to every VM that `request` is about.
absl::Status RequireOnVms(SqlTransaction& transaction, const Caller& caller, Action action,
                          const Request& request) {
  for (const RequestedPort& port : request.ports) {
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, action, Scope::Of(port.vm)));
  }
  return absl::OkStatus();
}

absl::Status CheckChangeable(SqlTransaction& transaction, const Request& request) {
  if (IsOver(request)) {
    return CodedError(absl::StatusCode::kFailedPrecondition, "RequestOver",
                      absl::StrCat("the request ", request.id, " is over; ask for access again"));
  }
  if (request.approvals_needed > 0) {
    return CodedError(absl::StatusCode::kFailedPrecondition, "ApprovalRequired",
                      absl::StrCat("the request ", request.id,
                                   " is approved, or waits to be, as it stands; ask for access "
                                   "again to have it otherwise"));
  }
  POSTERN_ASSIGN_OR_RETURN(const Policy policy, PolicyOf(transaction, request));
  if (policy.additions.approvals == 0) return absl::OkStatus();
  return CodedError(absl::StatusCode::kFailedPrecondition, "ApprovalRequired",
                    absl::StrCat("the policy wants approvals by now; ask for access again to have "
                                 "the request ",
                                 request.id, " otherwise"));
}

absl::Status CheckAllowed(const Policy& policy, const RequestedPort& port, const Sources& sources,
                          absl::Duration duration) {
  const PolicyVm* vm = FindVm(policy, port.vm);
  if (vm == nullptr) return NotAllowed(port, "the policy does not allow it any more");
  const auto rule = std::find_if(vm->ports.begin(), vm->ports.end(),
                                 [&](const PortRule& one) { return one.number == port.number; });
  if (rule == vm->ports.end()) return NotAllowed(port, "the policy does not allow it any more");
  if (rule->protocol != RuleProtocol::kAny && rule->protocol != port.protocol) {
    return NotAllowed(port, "the policy allows another protocol by now");
  }
  if (!IsWithin(sources, rule->allowed_sources)) {
    return NotAllowed(port,
                      absl::StrCat("the policy does not allow it from ", SourcesShown(sources)));
  }
  if (duration > rule->max_duration) {
    return NotAllowed(port, absl::StrCat("it would be open for ", DurationText(duration),
                                         " in all; the policy allows at most ",
                                         DurationText(rule->max_duration)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Policy> PolicyOf(SqlTransaction& transaction, const Request& request) {
  POSTERN_ASSIGN_OR_RETURN(std::optional<Policy> policy,
                           FindPolicy(transaction, request.policy.Key()));
  if (policy) return *std::move(policy);
  return CodedError(absl::StatusCode::kFailedPrecondition, "InvalidInitiateInput",
                    absl::StrCat("the policy ", request.policy.ToString(), " is gone"));
}

}  // namespace postern::controller
