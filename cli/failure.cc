#include "cli/failure.h"

#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/text.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace postern {
namespace {

constexpr char kDetails[] = "type.googleapis.com/google.rpc.Status";
constexpr char kHint[] = "postern/hint";

struct Violation {
  std::string field;
  std::string description;
};

std::string Payload(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : "";
}

std::vector<Violation> ViolationsOf(const absl::Status& status) {
  std::vector<Violation> violations;
  google::rpc::Status details;
  if (!details.ParseFromString(Payload(status, kDetails))) return violations;
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::BadRequest bad;
    if (!detail.Is<google::rpc::BadRequest>() || !detail.UnpackTo(&bad)) continue;
    for (const auto& violation : bad.field_violations()) {
      violations.push_back({violation.field(), violation.description()});
    }
  }
  return violations;
}

// The option that sets a field of a request, or the field where none does.
std::string OptionFor(const std::string& field) {
  struct Row {
    absl::string_view field;
    absl::string_view option;
  };
  constexpr Row kRows[] = {
      {"id", "the id"},
      {"source_prefixes", "--from"},
      {"ports", "--port"},
      {"duration", "--for"},
      {"not_after", "--until"},
      {"justification", "--justification"},
      {"port", "--port"},
      {"requestor", "--requestor"},
      {"reason", "--reason"},
      {"on_expiry", "--on-expiry"},
      {"since", "--since"},
      {"source_address", "--from"},
      {"after_number", "--after"},
  };
  // "ports[1].number" is about "ports".
  const std::string whole = field.substr(0, field.find_first_of("[."));
  for (const Row& row : kRows) {
    if (row.field == whole) return std::string(row.option);
  }
  return Printable(field);
}

}  // namespace

absl::Status ServerFailure(absl::StatusCode code, absl::string_view message,
                           absl::string_view details, absl::string_view hint) {
  absl::Status status(code, message);
  if (!details.empty()) status.SetPayload(kDetails, absl::Cord(details));
  if (!hint.empty()) status.SetPayload(kHint, absl::Cord(hint));
  return status;
}

ExitCode ExitCodeFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return kExitDone;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    default:
      return kExitFailed;
  }
}

std::string DescribeFailure(const absl::Status& status) {
  const std::vector<Violation> violations = ViolationsOf(status);
  std::string out;
  // A message that only repeats its one violation would be said twice.
  const bool repeats =
      violations.size() == 1 &&
      (status.message() == violations[0].description ||
       status.message() == absl::StrCat(violations[0].field, ": ", violations[0].description));
  if (!repeats) {
    const std::string message = Printable(status.message());
    absl::StrAppend(&out, "posternctl: ",
                    message.empty() ? absl::StatusCodeToString(status.code()) : message, "\n");
  }
  for (const Violation& violation : violations) {
    absl::StrAppend(&out, repeats ? "posternctl: " : "  ", OptionFor(violation.field), ": ",
                    Printable(violation.description), "\n");
  }
  const std::string hint = Payload(status, kHint);
  if (!hint.empty()) absl::StrAppend(&out, "  ", hint, "\n");
  return out;
}

}  // namespace postern
