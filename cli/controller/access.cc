#include "cli/controller/access.h"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "cli/controller/describe.h"
#include "cli/controller/verbs.h"
#include "cli/forms.h"
#include "common/duration.h"
#include "common/prefix.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr char kApiVersion[] = "?api-version=2020-01-01";
constexpr absl::Duration kUsualDuration = absl::Hours(1);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
// An access that ends sooner is asked for anew.
constexpr absl::Duration kWorthUsing = absl::Minutes(1);

const Json* FindVm(const Json& policy, const std::string& vm) {
  for (const Json& one : ListOf(ObjectOf(policy, "properties"), "virtualMachines")) {
    if (absl::EqualsIgnoreCase(TextOf(one, "id"), vm)) return &one;
  }
  return nullptr;
}

const Json* FindPort(const Json& vm, uint16_t number) {
  for (const Json& port : ListOf(vm, "ports")) {
    if (NumberOf(port, "number") == number) return &port;
  }
  return nullptr;
}

// How long each of the ports may be asked for under the policy, in their order; nothing
// where it does not allow them all.
std::optional<std::vector<absl::Duration>> LongestOf(const Json& policy, const std::string& vm,
                                                     const std::vector<uint16_t>& ports) {
  std::vector<absl::Duration> longest;
  const Json* machine = FindVm(policy, vm);
  if (machine == nullptr) return std::nullopt;
  for (const uint16_t number : ports) {
    const Json* port = FindPort(*machine, number);
    if (port == nullptr) return std::nullopt;
    const absl::StatusOr<absl::Duration> most =
        ParseDuration(TextOf(*port, "maxRequestAccessDuration"));
    longest.push_back(most.ok() ? *most : kUsualDuration);
  }
  return longest;
}

struct Allowed {
  std::string policy;
  std::vector<absl::Duration> longest;
};

absl::StatusOr<Allowed> FindPolicy(const ControllerClient& controller, const Access& access,
                                   const std::string& vm) {
  POSTERN_ASSIGN_OR_RETURN(
      const Json policies,
      controller.List(absl::StrCat("/postern/v1/policies?vm=", PercentEncoded(vm)), "policies"));
  std::vector<Allowed> found;
  for (const Json& policy : policies) {
    const std::string id = TextOf(policy, "id");
    const bool meant = access.policy.empty() || absl::EqualsIgnoreCase(id, access.policy) ||
                       absl::EqualsIgnoreCase(TextOf(policy, "name"), access.policy);
    std::optional<std::vector<absl::Duration>> longest = LongestOf(policy, vm, access.ports);
    if (meant && longest) found.push_back({.policy = id, .longest = *std::move(longest)});
  }
  if (found.size() == 1) return std::move(found[0]);
  const std::string what =
      absl::StrCat("port ", absl::StrJoin(access.ports, " and "), " of ", Printable(LastPart(vm)));
  if (found.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no policy that you may see allows ", what,
                     access.policy.empty() ? "" : absl::StrCat(" (", access.policy, ")"),
                     "; posternctl policy list shows what they allow"));
  }
  std::string ids;
  for (const Allowed& one : found) absl::StrAppend(&ids, "\n  ", one.policy);
  return absl::FailedPreconditionError(
      absl::StrCat("more than one policy allows ", what, "; give one with --policy:", ids));
}

Json AskedJson(const Access& access, const std::string& vm, const Allowed& allowed) {
  Json ports = Json::array();
  for (size_t i = 0; i < access.ports.size(); ++i) {
    const absl::Duration duration =
        access.duration.value_or(std::min(kUsualDuration, allowed.longest[i]));
    Json port = {{"number", access.ports[i]},
                 {"duration", absl::StrCat("PT", absl::ToInt64Seconds(duration), "S")}};
    std::vector<std::string> sources;
    for (const Prefix& source : access.from) sources.push_back(source.ToString());
    if (!sources.empty()) port["allowedSourceAddressPrefixes"] = sources;
    ports.push_back(std::move(port));
  }
  Json asked = {{"virtualMachines", {{{"id", vm}, {"ports", std::move(ports)}}}}};
  if (!access.justification.empty()) asked["justification"] = access.justification;
  return asked;
}

absl::StatusOr<std::string> Ask(const ControllerClient& controller, const Access& access,
                                const std::string& vm) {
  POSTERN_ASSIGN_OR_RETURN(const Allowed allowed, FindPolicy(controller, access, vm));
  POSTERN_ASSIGN_OR_RETURN(
      const Json made, controller.PostOnce(absl::StrCat(allowed.policy, "/initiate", kApiVersion),
                                           AskedJson(access, vm, allowed)));
  std::string id = TextOf(ObjectOf(made, "postern"), "id");
  if (id.empty()) return absl::InternalError("the controller did not say what became of it");
  return id;
}

bool HasStatus(const Json& request, const PortFilter& meant, absl::string_view status) {
  const Json& ports = ListOf(request, "ports");
  return std::any_of(ports.begin(), ports.end(), [&](const Json& port) {
    return meant(port) && TextOf(port, "status") == status;
  });
}

// The controller may answer the next time.
bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

std::string PathOf(const std::string& request) {
  return absl::StrCat("/postern/v1/requests/", PercentEncoded(request));
}

// Whether every one of `sources` is in a prefix of the port's.
bool Covers(const Json& port, const std::vector<Prefix>& sources) {
  const Json& texts = ListOf(port, "source_prefixes");
  return std::all_of(sources.begin(), sources.end(), [&](const Prefix& source) {
    return std::any_of(texts.begin(), texts.end(), [&](const Json& text) {
      if (!text.is_string()) return false;
      if (text.get<std::string>() == "*") return true;
      const absl::StatusOr<Prefix> prefix = Prefix::Parse(text.get<std::string>());
      return prefix.ok() && prefix->Contains(source);
    });
  });
}

// Whether it is the TCP port of this VM.
bool IsTcpOf(const Json& port, const std::string& vm, uint16_t number) {
  const std::string text = TextOf(port, "port");
  return absl::EqualsIgnoreCase(TextOf(port, "vm"), vm) &&
         (text == absl::StrCat(number, "/tcp") || text == absl::StrCat(number, "/any"));
}

// The id of the caller's own request that gives `access` already, or will; "" where
// there is none.
absl::StatusOr<std::string> FindOwn(const ControllerClient& controller, const Access& access,
                                    const std::string& vm, absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const Json me, controller.Get("/postern/v1/me"));
  std::vector<Prefix> sources = access.from;
  if (sources.empty()) {
    const absl::StatusOr<Address> address = Address::Parse(TextOf(me, "address"));
    if (!address.ok()) return "";
    sources = {Prefix::Host(*address)};
  }
  POSTERN_ASSIGN_OR_RETURN(const Json requests,
                           controller.List("/postern/v1/requests?", "requests"));
  for (const Json& request : requests) {
    if (TextOf(request, "requestor") != TextOf(me, "principal")) continue;
    for (const Json& port : ListOf(request, "ports")) {
      const std::string status = TextOf(port, "status");
      const absl::StatusOr<absl::Time> end = ParseTimestamp(TextOf(port, "end_time"));
      const bool lives =
          status == "Pending" || ((status == "Initiating" || status == "Initiated") && end.ok() &&
                                  *end > now + kWorthUsing);
      if (lives && IsTcpOf(port, vm, access.ports[0]) && Covers(port, sources)) {
        return TextOf(request, "id");
      }
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<std::string> AskForAccess(const ControllerClient& controller, const Access& access) {
  POSTERN_ASSIGN_OR_RETURN(const std::string vm, ResolveVm(controller, access.vm));
  return Ask(controller, access, vm);
}

bool EveryPort(const Json& /*port*/) { return true; }

absl::StatusOr<Json> AwaitAnswer(const ControllerClient& controller, const std::string& request,
                                 const PortFilter& meant, absl::Duration patience,
                                 Session& session) {
  const absl::Time deadline = absl::Now() + patience;
  absl::Duration pause = kFirstPause;
  bool said = false;
  while (true) {
    const absl::StatusOr<Json> state = controller.Get(PathOf(request));
    // The request stands, whatever becomes of a controller meanwhile.
    const bool unknown = MayPass(state.status());
    if (!state.ok() && !unknown) return state.status();
    const bool pending = !unknown && HasStatus(*state, meant, "Pending");
    if (!unknown && !pending && !HasStatus(*state, meant, "Initiating")) return state;
    if (pending && !std::exchange(said, true)) {
      session.Say(absl::StrCat("request ", request, " waits for approval by the role ",
                               TextOf(*state, "approver_role")));
    }
    if (absl::Now() + pause > deadline) {
      if (unknown) return state.status();
      return absl::DeadlineExceededError(absl::StrCat(
          "request ", request, pending ? " is not approved yet" : " is not applied by the VM yet",
          "; posternctl request show ", request, " tells when it is"));
    }
    poll(nullptr, 0, static_cast<int>(absl::ToInt64Milliseconds(pause)));
    pause = std::min(pause * 2, kLongestPause);
  }
}

absl::Status CheckOpen(const Json& request, const PortFilter& meant) {
  for (const Json& port : ListOf(request, "ports")) {
    if (!meant(port) || TextOf(port, "status") == "Initiated") continue;
    const std::string detail = TextOf(port, "detail");
    return absl::FailedPreconditionError(absl::StrCat(
        "port ", TextOf(port, "port"), " of ", LastPart(TextOf(port, "vm")),
        " is not open: ", TextOf(port, "status_reason"), detail.empty() ? "" : ": ", detail));
  }
  return absl::OkStatus();
}

absl::Status EnsureAccess(const ControllerClient& controller, const Access& access,
                          Session& session) {
  POSTERN_ASSIGN_OR_RETURN(const std::string vm, ResolveVm(controller, access.vm));
  POSTERN_ASSIGN_OR_RETURN(std::string request,
                           FindOwn(controller, access, vm, session.environment().now()));
  if (request.empty()) {
    POSTERN_ASSIGN_OR_RETURN(request, Ask(controller, access, vm));
  }
  // Its other ports may have ended, or belong to a VM that is away.
  const auto meant = [&](const Json& port) { return IsTcpOf(port, vm, access.ports[0]); };
  POSTERN_ASSIGN_OR_RETURN(const Json state,
                           AwaitAnswer(controller, request, meant, access.patience, session));
  return CheckOpen(state, meant);
}

}  // namespace postern
