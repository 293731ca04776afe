#include "controller/rest/api.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"
#include "common/text.h"
#include "common/uuid.h"
#include "controller/domain/error.h"
#include "controller/limits/network.h"
#include "controller/rest/errors.h"
#include "controller/rest/routes.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxIdBytes = 128;
constexpr size_t kMostNames = 10'000;
// Before it is known who calls: many may share a network.
constexpr double kPerNetwork = 100;
constexpr double kNetworkBurst = 400;
constexpr double kPerPrincipal = 20;
constexpr double kPrincipalBurst = 100;

// What a client calls this call; "" where it is nothing to repeat.
std::string GivenId(const HttpRequest& request, const std::string& header) {
  const std::string& id = request.Header(header);
  return id.size() <= kMaxIdBytes && Printable(id) == id ? id : "";
}

absl::Status TooMany(absl::Duration wait) {
  return CodedError(
      absl::StatusCode::kResourceExhausted, "TooManyRequests",
      absl::StrCat("too many calls; try again in ", std::ceil(absl::ToDoubleSeconds(wait)), " s"));
}

HttpResponse Limited(absl::Duration wait) {
  HttpResponse response = ErrorResponse(TooMany(wait));
  response.headers.emplace_back("Retry-After",
                                absl::StrCat(std::ceil(absl::ToDoubleSeconds(wait))));
  return response;
}

bool IsHealth(const Target& target) {
  return Match("/postern/v1/health", target.segments).has_value();
}

// A condition that is misspelt would be one that is not made.
absl::Status CheckParameters(const Route& route, const Target& target) {
  for (const auto& [name, value] : target.query) {
    const std::vector<std::string>& known = route.parameters;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return CodedError(
        absl::StatusCode::kInvalidArgument, "InvalidRequestUri",
        absl::StrCat("this address takes no parameter \"", name, "\"",
                     known.empty() ? "" : absl::StrCat(", but ", absl::StrJoin(known, ", "))));
  }
  return absl::OkStatus();
}

absl::Status NoRoute(const HttpRequest& request, const std::vector<std::string>& methods) {
  if (methods.empty()) {
    return CodedError(absl::StatusCode::kNotFound, "ResourceNotFound",
                      "there is nothing at this address");
  }
  return absl::UnimplementedError(absl::StrCat("this address takes ", absl::StrJoin(methods, ", "),
                                               ", not ", Printable(request.method)));
}

}  // namespace

Api::Api(AccessService& access, Authenticator& authenticator, const Clock& clock,
         ApiOptions options)
    : access_(access),
      authenticator_(authenticator),
      clock_(clock),
      options_(std::move(options)),
      by_network_(kPerNetwork, kNetworkBurst, kMostNames),
      by_principal_(kPerPrincipal, kPrincipalBurst, kMostNames) {}

HttpResponse Api::Handle(const HttpRequest& request) {
  Caller caller{.address = request.peer};
  caller.correlation_id = GivenId(request, "x-ms-correlation-request-id");
  if (caller.correlation_id.empty()) caller.correlation_id = NewUuid();
  caller.client_request_id = GivenId(request, "x-ms-client-request-id");
  absl::StatusOr<HttpResponse> answer = Answer(request, caller);
  HttpResponse response = answer.ok() ? *std::move(answer) : ErrorResponse(answer.status());
  if (!answer.ok() && response.status >= 500) {
    options_.report(absl::StrCat(request.method, " failed (correlation id ", caller.correlation_id,
                                 "): ", answer.status().ToString()));
  }
  response.headers.emplace_back("x-ms-request-id", NewUuid());
  response.headers.emplace_back("x-ms-correlation-request-id", caller.correlation_id);
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

absl::StatusOr<HttpResponse> Api::Answer(const HttpRequest& request, Caller& caller) {
  const BootTime now = clock_.Read().boot;
  absl::Duration wait = by_network_.Take(NetworkOf(request.peer), now);
  if (wait > absl::ZeroDuration()) return Limited(wait);
  POSTERN_ASSIGN_OR_RETURN(const Target target, ParseTarget(request.target));
  if (IsHealth(target)) {
    POSTERN_RETURN_IF_ERROR(access_.CheckStore());
    return JsonResponse(200, {{"status", "ok"}});
  }
  POSTERN_ASSIGN_OR_RETURN(
      caller.principal,
      authenticator_.Authenticate(request.Header("authorization"), request.certificate_uris));
  wait = by_principal_.Take(caller.principal, now);
  if (wait > absl::ZeroDuration()) return Limited(wait);
  std::vector<std::string> methods;
  for (const std::vector<Route>* routes : {&AzureRoutes(), &PosternRoutes()}) {
    for (const Route& route : *routes) {
      const std::optional<std::vector<std::string>> values = Match(route.pattern, target.segments);
      if (!values) continue;
      if (route.method != request.method) {
        methods.push_back(route.method);
        continue;
      }
      if (routes == &PosternRoutes()) POSTERN_RETURN_IF_ERROR(CheckParameters(route, target));
      return route.answer(
          access_, options_,
          {.request = request, .target = target, .values = *values, .caller = caller});
    }
  }
  return NoRoute(request, methods);
}

}  // namespace postern::controller
