#include "controller/domain/resource_id.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxGroupBytes = 90;
constexpr size_t kMaxVmBytes = 64;
constexpr size_t kMaxIdBytes = 512;

absl::Status WrongId(absl::string_view wanted, absl::string_view text) {
  return CodedError(
      absl::StatusCode::kInvalidArgument, "LinkedInvalidPropertyId",
      absl::StrCat("\"", Printable(text.substr(0, kMaxIdBytes)), "\" is not the id of ", wanted));
}

// "/a/b" as {"a", "b"}; empty where it does not start with a slash or is too long.
std::vector<absl::string_view> Segments(absl::string_view text) {
  if (text.size() > kMaxIdBytes || !absl::StartsWith(text, "/")) return {};
  return absl::StrSplit(text.substr(1), '/');
}

bool Is(absl::string_view segment, absl::string_view word) {
  return absl::EqualsIgnoreCase(segment, word);
}

}  // namespace

absl::StatusOr<std::string> ParseSubscription(absl::string_view text) {
  constexpr absl::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  bool good = text.size() == kForm.size();
  for (size_t i = 0; good && i < text.size(); ++i) {
    good = kForm[i] == '-' ? text[i] == '-'
                           : absl::ascii_isxdigit(static_cast<unsigned char>(text[i]));
  }
  if (!good) {
    return CodedError(absl::StatusCode::kInvalidArgument, "InvalidSubscriptionId",
                      absl::StrCat("the subscription \"", Printable(text.substr(0, 64)),
                                   "\" is not a GUID; it looks like "
                                   "00000000-0000-0000-0000-000000000000"));
  }
  return absl::AsciiStrToLower(text);
}

absl::Status CheckName(absl::string_view what, absl::string_view name, size_t max_bytes) {
  bool good = !name.empty() && name.size() <= max_bytes && name.back() != '.';
  for (const char c : name) {
    good = good &&
           (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-_.()", c));
  }
  if (good) return absl::OkStatus();
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidResourceName",
                    absl::StrCat("the ", what, " \"", Printable(name.substr(0, max_bytes)),
                                 "\" is not a name: 1 to ", max_bytes,
                                 " letters, digits and -_.(), not ending in a dot"));
}

absl::StatusOr<VmId> VmId::Parse(absl::string_view text) {
  const std::vector<absl::string_view> parts = Segments(text);
  if (parts.size() != 8 || !Is(parts[0], "subscriptions") || !Is(parts[2], "resourceGroups") ||
      !Is(parts[4], "providers") || !Is(parts[5], "Microsoft.Compute") ||
      !Is(parts[6], "virtualMachines")) {
    return WrongId(
        "a virtual machine: /subscriptions/GUID/resourceGroups/GROUP/providers/Microsoft.Compute/"
        "virtualMachines/NAME",
        text);
  }
  POSTERN_ASSIGN_OR_RETURN(std::string subscription, ParseSubscription(parts[1]));
  POSTERN_RETURN_IF_ERROR(CheckName("resource group", parts[3], kMaxGroupBytes));
  POSTERN_RETURN_IF_ERROR(CheckName("virtual machine", parts[7], kMaxVmBytes));
  return VmId{.subscription = std::move(subscription),
              .resource_group = std::string(parts[3]),
              .name = std::string(parts[7])};
}

std::string VmId::ToString() const {
  return absl::StrCat("/subscriptions/", subscription, "/resourceGroups/", resource_group,
                      "/providers/Microsoft.Compute/virtualMachines/", name);
}

std::string VmId::Key() const { return absl::AsciiStrToLower(ToString()); }

std::string PolicyId::ToString() const {
  return absl::StrCat("/subscriptions/", subscription, "/resourceGroups/", resource_group,
                      "/providers/Microsoft.Security/locations/", location,
                      "/jitNetworkAccessPolicies/", name);
}

std::string PolicyId::Key() const { return absl::AsciiStrToLower(ToString()); }

absl::StatusOr<Scope> Scope::Parse(absl::string_view text) {
  if (text == "/") return Scope{};
  const std::vector<absl::string_view> parts = Segments(text);
  if (parts.size() == 8) {
    POSTERN_ASSIGN_OR_RETURN(const VmId vm, VmId::Parse(text));
    return Of(vm);
  }
  const bool group = parts.size() == 4 && Is(parts[2], "resourceGroups");
  if (!(parts.size() == 2 || group) || !Is(parts[0], "subscriptions")) {
    return WrongId(
        "a scope: / for everything, /subscriptions/GUID, "
        "/subscriptions/GUID/resourceGroups/GROUP, or a virtual machine's",
        text);
  }
  Scope scope;
  POSTERN_ASSIGN_OR_RETURN(scope.subscription, ParseSubscription(parts[1]));
  if (group) {
    POSTERN_RETURN_IF_ERROR(CheckName("resource group", parts[3], kMaxGroupBytes));
    scope.resource_group = std::string(parts[3]);
  }
  return scope;
}

Scope Scope::Of(const VmId& vm) {
  return {.subscription = vm.subscription, .resource_group = vm.resource_group, .vm = vm.name};
}

std::string Scope::ToString() const {
  if (subscription.empty()) return "/";
  if (!vm.empty()) {
    return VmId{.subscription = subscription, .resource_group = resource_group, .name = vm}
        .ToString();
  }
  return absl::StrCat("/subscriptions/", subscription,
                      resource_group.empty() ? "" : "/resourceGroups/", resource_group);
}

std::string Scope::Key() const { return absl::AsciiStrToLower(ToString()); }

bool Scope::Contains(const Scope& other) const {
  const auto holds = [](absl::string_view mine, absl::string_view theirs) {
    return mine.empty() || absl::EqualsIgnoreCase(mine, theirs);
  };
  return holds(subscription, other.subscription) && holds(resource_group, other.resource_group) &&
         holds(vm, other.vm);
}

}  // namespace postern::controller
