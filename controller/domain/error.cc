#include "controller/domain/error.h"

#include "absl/strings/cord.h"
#include "absl/types/optional.h"

namespace postern::controller {
namespace {

constexpr absl::string_view kCodeUrl = "postern/azure-code";
constexpr absl::string_view kTargetUrl = "postern/target";

std::string Payload(const absl::Status& status, absl::string_view url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  return payload ? std::string(*payload) : "";
}

}  // namespace

absl::Status CodedError(absl::StatusCode code, absl::string_view azure_code,
                        absl::string_view message, absl::string_view target) {
  absl::Status status(code, message);
  status.SetPayload(kCodeUrl, absl::Cord(azure_code));
  if (!target.empty()) status.SetPayload(kTargetUrl, absl::Cord(target));
  return status;
}

std::string AzureCodeOf(const absl::Status& status) { return Payload(status, kCodeUrl); }
std::string TargetOf(const absl::Status& status) { return Payload(status, kTargetUrl); }

}  // namespace postern::controller
