#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"
#include "controller/rest/azure_json.h"
#include "controller/rest/json_reading.h"
#include "controller/rest/routes.h"

namespace postern::controller {
namespace {

constexpr absl::string_view kVersion = "2020-01-01";

absl::Status CheckHasVersion(const Call& call) {
  if (!call.target.Query("api-version").empty()) return absl::OkStatus();
  return CodedError(absl::StatusCode::kInvalidArgument, "MissingApiVersionParameter",
                    "The api-version query parameter (?api-version=) is required for all "
                    "requests.");
}

absl::Status CheckVersion(const Call& call) {
  POSTERN_RETURN_IF_ERROR(CheckHasVersion(call));
  const std::string version = call.target.Query("api-version");
  if (version == kVersion) return absl::OkStatus();
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidApiVersionParameter",
                    absl::StrCat("The api-version '", Printable(version.substr(0, 64)),
                                 "' is invalid. The supported version is '", kVersion, "'."));
}

// "VERSION" in quotes, as ETag tells it (RFC 9110, 8.8.3).
std::string ETagOf(const Policy& policy) { return absl::StrCat("\"", policy.version, "\""); }

HttpResponse PolicyResponse(const PolicyView& view) {
  HttpResponse response = JsonResponse(200, PolicyJson(view));
  response.headers.emplace_back("ETag", ETagOf(view.policy));
  return response;
}

// The versions in a list of entity tags; what is none of ours matches nothing. `weak`:
// those that are marked as such count as well.
std::optional<Versions> VersionsIn(const std::string& header, bool weak) {
  if (header.empty()) return std::nullopt;
  Versions versions{.any = absl::StripAsciiWhitespace(header) == "*"};
  for (absl::string_view tag : absl::StrSplit(header, ',')) {
    tag = absl::StripAsciiWhitespace(tag);
    if (weak) absl::ConsumePrefix(&tag, "W/");
    int64_t version = 0;
    const bool quoted = absl::ConsumePrefix(&tag, "\"") && absl::ConsumeSuffix(&tag, "\"");
    if (quoted && absl::SimpleAtoi(tag, &version)) versions.listed.push_back(version);
  }
  return versions;
}

// RFC 9110, 13.1.1 and 13.1.2: If-Match compares strongly, If-None-Match weakly.
Precondition PreconditionOf(const HttpRequest& request) {
  return {.match = VersionsIn(request.Header("if-match"), /*weak=*/false),
          .none_match = VersionsIn(request.Header("if-none-match"), /*weak=*/true)};
}

absl::StatusOr<PolicyId> PolicyIdOf(const Call& call) {
  PolicyId id{.resource_group = call.values[1], .location = call.values[2], .name = call.values[3]};
  POSTERN_ASSIGN_OR_RETURN(id.subscription, ParseSubscription(call.values[0]));
  return id;
}

absl::StatusOr<HttpResponse> ListWhere(AccessService& access, const ApiOptions& options,
                                       const Call& call, Where where) {
  POSTERN_RETURN_IF_ERROR(CheckVersion(call));
  POSTERN_ASSIGN_OR_RETURN(where.subscription, ParseSubscription(where.subscription));
  POSTERN_ASSIGN_OR_RETURN(
      const Page<PolicyView> page,
      access.ListPolicies(call.caller, where, call.target.Query("$skiptoken")));
  Json body = {{"value", Json::array()}};
  for (const PolicyView& view : page.items) body["value"].push_back(PolicyJson(view));
  if (!page.next.empty()) {
    const std::string path = call.request.target.substr(0, call.request.target.find('?'));
    body["nextLink"] = absl::StrCat(options.public_url, path, "?api-version=", kVersion,
                                    "&$skiptoken=", PercentEncoded(page.next));
  }
  return JsonResponse(200, body);
}

absl::StatusOr<HttpResponse> Get(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_RETURN_IF_ERROR(CheckVersion(call));
  POSTERN_ASSIGN_OR_RETURN(const PolicyId id, PolicyIdOf(call));
  POSTERN_ASSIGN_OR_RETURN(const PolicyView view, access.GetPolicy(call.caller, id));
  return PolicyResponse(view);
}

absl::StatusOr<HttpResponse> Put(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_RETURN_IF_ERROR(CheckVersion(call));
  POSTERN_ASSIGN_OR_RETURN(const PolicyId id, PolicyIdOf(call));
  POSTERN_ASSIGN_OR_RETURN(const Json body, ReadBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(PolicyChange change, ReadPolicy(id, body));
  change.precondition = PreconditionOf(call.request);
  POSTERN_ASSIGN_OR_RETURN(const PolicyView view, access.PutPolicy(call.caller, change));
  return PolicyResponse(view);
}

absl::StatusOr<HttpResponse> Delete(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_RETURN_IF_ERROR(CheckVersion(call));
  POSTERN_ASSIGN_OR_RETURN(const PolicyId id, PolicyIdOf(call));
  POSTERN_ASSIGN_OR_RETURN(const bool existed,
                           access.DeletePolicy(call.caller, id, PreconditionOf(call.request)));
  return HttpResponse{.status = existed ? 200 : 204};
}

// A call whose id is dropped would be made twice where it is repeated.
absl::Status CheckClientRequestId(const Call& call) {
  if (call.request.Header("x-ms-client-request-id") == call.caller.client_request_id) {
    return absl::OkStatus();
  }
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidRequestContent",
                    "x-ms-client-request-id is too long, or has what cannot be printed: at most "
                    "128 characters tell a call from others",
                    "x-ms-client-request-id");
}

absl::StatusOr<HttpResponse> Initiate(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_RETURN_IF_ERROR(CheckVersion(call));
  POSTERN_RETURN_IF_ERROR(CheckClientRequestId(call));
  POSTERN_ASSIGN_OR_RETURN(const PolicyId id, PolicyIdOf(call));
  POSTERN_ASSIGN_OR_RETURN(const Json body, ReadBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(const Asked asked, ReadAsked(body));
  POSTERN_ASSIGN_OR_RETURN(const Request request, access.Initiate(call.caller, id, asked));
  return JsonResponse(202, RequestJson(request));
}

// Each version of az asks by another version of Microsoft.Resources; what is told here is
// in all of them.
absl::StatusOr<HttpResponse> ListSubscriptions(AccessService& access, const ApiOptions&,
                                               const Call& call) {
  POSTERN_RETURN_IF_ERROR(CheckHasVersion(call));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<std::string> subscriptions,
                           access.ListSubscriptions(call.caller));
  Json body = {{"value", Json::array()}};
  for (const std::string& subscription : subscriptions) {
    body["value"].push_back({{"id", absl::StrCat("/subscriptions/", subscription)},
                             {"subscriptionId", subscription},
                             {"displayName", subscription},
                             {"state", "Enabled"}});
  }
  return JsonResponse(200, body);
}

}  // namespace

const std::vector<Route>& AzureRoutes() {
  static const auto& routes = *new std::vector<Route>([] {
    const std::string subscription = "/subscriptions/{}";
    const std::string group = "/subscriptions/{}/resourceGroups/{}";
    const std::string provider = "/providers/Microsoft.Security";
    const std::string region = absl::StrCat(provider, "/locations/{}");
    const std::string policies = "/jitNetworkAccessPolicies";
    const std::string policy = absl::StrCat(group, region, policies, "/{}");
    const auto list = [](const std::string& pattern, auto where_of) {
      return Route{"GET", pattern,
                   [where_of](AccessService& access, const ApiOptions& options, const Call& call) {
                     return ListWhere(access, options, call, where_of(call.values));
                   }};
    };
    using Values = std::vector<std::string>;
    return std::vector<Route>{
        list(absl::StrCat(subscription, provider, policies),
             [](const Values& values) { return Where{.subscription = values[0]}; }),
        list(absl::StrCat(subscription, region, policies),
             [](const Values& values) {
               return Where{.subscription = values[0], .location = values[1]};
             }),
        list(absl::StrCat(group, provider, policies),
             [](const Values& values) {
               return Where{.subscription = values[0], .resource_group = values[1]};
             }),
        list(absl::StrCat(group, region, policies),
             [](const Values& values) {
               return Where{
                   .subscription = values[0], .resource_group = values[1], .location = values[2]};
             }),
        {"GET", "/subscriptions", ListSubscriptions},
        {"GET", policy, Get},
        {"PUT", policy, Put},
        {"DELETE", policy, Delete},
        {"POST", absl::StrCat(policy, "/initiate"), Initiate},
    };
  }());
  return routes;
}

HttpResponse JsonResponse(int status, const Json& body) {
  return {.status = status,
          .headers = {{"Content-Type", "application/json; charset=utf-8"}},
          .body = body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

}  // namespace postern::controller
