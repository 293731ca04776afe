#include "controller/rest/errors.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

using Json = nlohmann::json;

struct Kind {
  int status;
  // For an error without Azure's code.
  absl::string_view code;
  // What is told instead of a message that is not for callers; "" tells it.
  absl::string_view message;
};

Kind KindOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return {400, "InvalidRequestContent", ""};
    case absl::StatusCode::kUnauthenticated:
      return {401, "AuthenticationFailed", ""};
    case absl::StatusCode::kPermissionDenied:
      return {403, "AuthorizationFailed", ""};
    case absl::StatusCode::kNotFound:
      return {404, "ResourceNotFound", ""};
    case absl::StatusCode::kUnimplemented:
      return {405, "MethodNotAllowed", ""};
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return {409, "Conflict", ""};
    case absl::StatusCode::kAborted:
      return {412, "PreconditionFailed", ""};
    case absl::StatusCode::kResourceExhausted:
      return {503, "InsufficientStorage", "the controller's disk is full; nothing was changed"};
    case absl::StatusCode::kUnavailable:
      return {503, "ServiceUnavailable",
              "the controller's store cannot be reached; nothing was changed, try again"};
    case absl::StatusCode::kDataLoss:
      return {500, "DataLoss", ""};
    default:
      return {500, "InternalServerError", "the controller failed; its journal says why"};
  }
}

}  // namespace

int HttpStatusOf(const absl::Status& status) {
  const std::string code = AzureCodeOf(status);
  // What a policy does not allow is a mistake in the request, as Azure has it.
  if (code == "InvalidInitiateInput") return 400;
  if (code == "TooManyRequests") return 429;
  return KindOf(status.code()).status;
}

HttpResponse ErrorResponse(const absl::Status& status) {
  const Kind kind = KindOf(status.code());
  const std::string code = AzureCodeOf(status);
  const bool told = kind.message.empty() || !code.empty();
  Json error = {{"code", code.empty() ? std::string(kind.code) : code},
                {"message", std::string(told ? status.message() : kind.message)}};
  const std::string target = TargetOf(status);
  if (!target.empty()) error["target"] = target;
  HttpResponse response{.status = HttpStatusOf(status)};
  response.headers = {{"Content-Type", "application/json; charset=utf-8"}};
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (response.status == 503) response.headers.emplace_back("Retry-After", "5");
  response.body =
      Json{{"error", std::move(error)}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  return response;
}

}  // namespace postern::controller
