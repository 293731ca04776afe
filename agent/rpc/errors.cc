#include "agent/rpc/errors.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kBadRequestUrl[] = "type.googleapis.com/google.rpc.BadRequest";
constexpr char kEllipsis[] = "...";

// At most `most` bytes of `text`, cut between characters.
std::string Shortened(absl::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  size_t end = most - (sizeof kEllipsis - 1);
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), kEllipsis);
}

google::rpc::BadRequest ToProto(const std::vector<Violation>& violations) {
  google::rpc::BadRequest bad_request;
  for (size_t i = 0; i < std::min(violations.size(), kMaxViolationsTold); ++i) {
    auto& told = *bad_request.add_field_violations();
    told.set_field(violations[i].field);
    told.set_description(Shortened(violations[i].description, kMaxDescriptionBytes));
  }
  return bad_request;
}

std::optional<google::rpc::BadRequest> BadRequestOf(const absl::Status& status) {
  if (const auto payload = status.GetPayload(kBadRequestUrl)) {
    google::rpc::BadRequest bad_request;
    if (bad_request.ParseFromString(std::string(*payload))) return bad_request;
  }
  const std::string field = FieldOf(status);
  if (field.empty()) return std::nullopt;
  const absl::string_view description =
      absl::StripPrefix(status.message(), absl::StrCat(field, ": "));
  return ToProto({{.field = field, .description = std::string(description)}});
}

}  // namespace

absl::Status BadRequestError(const std::vector<Violation>& violations) {
  std::string message;
  for (const Violation& violation : violations) {
    absl::StrAppend(&message, message.empty() ? "" : "; ", violation.field, ": ",
                    violation.description);
    if (message.size() > kMaxMessageBytes) break;
  }
  absl::Status status = absl::InvalidArgumentError(Shortened(message, kMaxMessageBytes));
  status.SetPayload(kBadRequestUrl, absl::Cord(ToProto(violations).SerializeAsString()));
  return status;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The two sets of codes are one: gRPC's.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = Shortened(status.message(), kMaxMessageBytes);
  const std::optional<google::rpc::BadRequest> bad_request = BadRequestOf(status);
  if (!bad_request) return {code, message};
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(*bad_request);
  return {code, message, details.SerializeAsString()};
}

}  // namespace postern
