#include "controller/rest/errors.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "controller/domain/error.h"

namespace postern::controller {
namespace {

using absl::StatusCode;
using Json = nlohmann::json;

constexpr char kMessage[] = "words";

std::string HeaderOf(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

struct Row {
  StatusCode code;
  int status;
  const char* azure_code;
  // Whether the caller is told the message.
  bool told;
};

class ErrorsTest : public testing::TestWithParam<Row> {};

TEST_P(ErrorsTest, HasItsStatusItsCodeAndItsWords) {
  const HttpResponse response = ErrorResponse(absl::Status(GetParam().code, kMessage));
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_EQ(HttpStatusOf(absl::Status(GetParam().code, kMessage)), GetParam().status);
  EXPECT_EQ(HeaderOf(response, "Content-Type"), "application/json; charset=utf-8");
  const Json error = Json::parse(response.body)["error"];
  EXPECT_EQ(error["code"], GetParam().azure_code);
  EXPECT_EQ(error["message"] == kMessage, GetParam().told) << error;
  EXPECT_NE(error["message"], "");
  EXPECT_FALSE(error.contains("target"));
}

INSTANTIATE_TEST_SUITE_P(
    EachCode, ErrorsTest,
    testing::Values(Row{StatusCode::kCancelled, 500, "InternalServerError", false},
                    Row{StatusCode::kUnknown, 500, "InternalServerError", false},
                    Row{StatusCode::kInvalidArgument, 400, "InvalidRequestContent", true},
                    Row{StatusCode::kDeadlineExceeded, 500, "InternalServerError", false},
                    Row{StatusCode::kNotFound, 404, "ResourceNotFound", true},
                    Row{StatusCode::kAlreadyExists, 409, "Conflict", true},
                    Row{StatusCode::kPermissionDenied, 403, "AuthorizationFailed", true},
                    Row{StatusCode::kResourceExhausted, 503, "InsufficientStorage", false},
                    Row{StatusCode::kFailedPrecondition, 409, "Conflict", true},
                    Row{StatusCode::kAborted, 412, "PreconditionFailed", true},
                    Row{StatusCode::kOutOfRange, 400, "InvalidRequestContent", true},
                    Row{StatusCode::kUnimplemented, 405, "MethodNotAllowed", true},
                    Row{StatusCode::kInternal, 500, "InternalServerError", false},
                    Row{StatusCode::kUnavailable, 503, "ServiceUnavailable", false},
                    Row{StatusCode::kDataLoss, 500, "DataLoss", true},
                    Row{StatusCode::kUnauthenticated, 401, "AuthenticationFailed", true}));

TEST(ErrorResponseTest, ACodeOfAzuresGoesBeforeThatOfTheStatus) {
  const HttpResponse response = ErrorResponse(CodedError(
      StatusCode::kFailedPrecondition, "InvalidInitiateInput", kMessage, "properties.x"));
  EXPECT_EQ(response.status, 400);
  const Json error = Json::parse(response.body)["error"];
  EXPECT_EQ(error["code"], "InvalidInitiateInput");
  EXPECT_EQ(error["message"], kMessage);
  EXPECT_EQ(error["target"], "properties.x");
  EXPECT_EQ(HttpStatusOf(CodedError(StatusCode::kResourceExhausted, "TooManyRequests", kMessage)),
            429);
}

TEST(ErrorResponseTest, SaysWhatToDoNext) {
  EXPECT_EQ(HeaderOf(ErrorResponse(absl::UnauthenticatedError("")), "WWW-Authenticate"), "Bearer");
  EXPECT_EQ(HeaderOf(ErrorResponse(absl::PermissionDeniedError("")), "WWW-Authenticate"), "");
  EXPECT_EQ(HeaderOf(ErrorResponse(absl::UnavailableError("")), "Retry-After"), "5");
  EXPECT_EQ(HeaderOf(ErrorResponse(absl::NotFoundError("")), "Retry-After"), "");
}

TEST(ErrorResponseTest, IsJsonWhateverTheMessageHolds) {
  const HttpResponse response = ErrorResponse(absl::NotFoundError("\xff \"quoted\" \n"));
  EXPECT_TRUE(Json::accept(response.body)) << response.body;
}

}  // namespace
}  // namespace postern::controller
