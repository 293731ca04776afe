#include "agent/rpc/errors.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

// The violations in a status as a client reads them.
std::vector<std::string> ViolationsIn(const grpc::Status& status) {
  google::rpc::Status details;
  std::vector<std::string> violations;
  if (!details.ParseFromString(status.error_details())) return {"not a google.rpc.Status"};
  EXPECT_TRUE(details.details().empty() || details.code() == status.error_code());
  for (const auto& any : details.details()) {
    google::rpc::BadRequest bad_request;
    if (!any.UnpackTo(&bad_request)) return {"not a BadRequest"};
    for (const auto& violation : bad_request.field_violations()) {
      violations.push_back(absl::StrCat(violation.field(), " ", violation.description()));
    }
  }
  return violations;
}

TEST(Errors, EachCodeKeepsItsMeaning) {
  const struct {
    absl::StatusCode ours;
    grpc::StatusCode theirs;
  } kCodes[] = {
      {absl::StatusCode::kCancelled, grpc::CANCELLED},
      {absl::StatusCode::kUnknown, grpc::UNKNOWN},
      {absl::StatusCode::kInvalidArgument, grpc::INVALID_ARGUMENT},
      {absl::StatusCode::kDeadlineExceeded, grpc::DEADLINE_EXCEEDED},
      {absl::StatusCode::kNotFound, grpc::NOT_FOUND},
      {absl::StatusCode::kAlreadyExists, grpc::ALREADY_EXISTS},
      {absl::StatusCode::kPermissionDenied, grpc::PERMISSION_DENIED},
      {absl::StatusCode::kResourceExhausted, grpc::RESOURCE_EXHAUSTED},
      {absl::StatusCode::kFailedPrecondition, grpc::FAILED_PRECONDITION},
      {absl::StatusCode::kAborted, grpc::ABORTED},
      {absl::StatusCode::kOutOfRange, grpc::OUT_OF_RANGE},
      {absl::StatusCode::kUnimplemented, grpc::UNIMPLEMENTED},
      {absl::StatusCode::kInternal, grpc::INTERNAL},
      {absl::StatusCode::kUnavailable, grpc::UNAVAILABLE},
      {absl::StatusCode::kDataLoss, grpc::DATA_LOSS},
      {absl::StatusCode::kUnauthenticated, grpc::UNAUTHENTICATED},
  };
  for (const auto& code : kCodes) {
    const grpc::Status status = ToGrpcStatus(absl::Status(code.ours, "what and how to mend it"));
    EXPECT_EQ(status.error_code(), code.theirs) << absl::StatusCodeToString(code.ours);
    EXPECT_EQ(status.error_message(), "what and how to mend it");
    EXPECT_EQ(status.error_details(), "");
  }
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(Errors, AFieldErrorNamesItsField) {
  const grpc::Status status =
      ToGrpcStatus(Annotate(FieldError("not_after", "is in the past"), "deciding"));
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "deciding: not_after: is in the past");
  EXPECT_THAT(ViolationsIn(ToGrpcStatus(FieldError("not_after", "is in the past"))),
              testing::ElementsAre("not_after is in the past"));
}

TEST(Errors, ABadRequestTellsAllViolations) {
  const grpc::Status status =
      ToGrpcStatus(BadRequestError({{.field = "id", .description = "is required"},
                                    {.field = "ports", .description = "is empty"}}));
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "id: is required; ports: is empty");
  EXPECT_THAT(ViolationsIn(status), testing::ElementsAre("id is required", "ports is empty"));
}

TEST(Errors, AStatusStaysSmallEnoughForEveryClient) {
  const std::vector<Violation> many(
      64, {.field = "source_prefixes[0]", .description = std::string(5000, 'x')});
  const grpc::Status status = ToGrpcStatus(BadRequestError(many));
  EXPECT_EQ(ViolationsIn(status).size(), kMaxViolationsTold);
  EXPECT_THAT(status.error_message(), EndsWith("..."));
  // As base64, beside the message.
  EXPECT_LT(status.error_details().size() * 4 / 3 + status.error_message().size(), 8192U);
}

TEST(Errors, AMessageIsCutBetweenCharacters) {
  std::string umlauts;
  while (umlauts.size() < 2 * kMaxMessageBytes) umlauts += "\u00fc";
  for (const char* before : {"", "x"}) {
    const std::string message = ToGrpcStatus(absl::InternalError(before + umlauts)).error_message();
    EXPECT_LE(message.size(), kMaxMessageBytes);
    EXPECT_THAT(message, EndsWith("\u00fc..."));
  }
}

TEST(Errors, OtherPayloadsStayHere) {
  absl::Status status = absl::InternalError("the table is gone");
  status.SetPayload("postern/secret", absl::Cord("for us alone"));
  EXPECT_EQ(ToGrpcStatus(status).error_details(), "");
}

}  // namespace
}  // namespace postern
