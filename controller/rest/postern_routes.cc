#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/duration.h"
#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/rest/azure_json.h"
#include "controller/rest/json_reading.h"
#include "controller/rest/postern_json.h"
#include "controller/rest/routes.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxNameBytes = 512;
constexpr size_t kAuditPage = 1000;

template <typename T>
Json ListJson(const std::vector<T>& items) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(ToJson(item));
  return list;
}

template <typename T>
absl::StatusOr<HttpResponse> PageResponse(const absl::StatusOr<Page<T>>& page,
                                          const std::string& name) {
  if (!page.ok()) return page.status();
  return JsonResponse(200, {{name, ListJson(page->items)}, {"next_page_token", page->next}});
}

template <typename T>
absl::StatusOr<HttpResponse> ListResponse(const absl::StatusOr<std::vector<T>>& items,
                                          const std::string& name) {
  if (!items.ok()) return items.status();
  return JsonResponse(200, {{name, ListJson(*items)}});
}

template <typename T>
absl::StatusOr<HttpResponse> ItemResponse(const absl::StatusOr<T>& item) {
  if (!item.ok()) return item.status();
  return JsonResponse(200, ToJson(*item));
}

absl::StatusOr<HttpResponse> DoneResponse(const absl::Status& status) {
  if (!status.ok()) return status;
  return HttpResponse{.status = 204};
}

// What a body of a POST may leave out altogether.
absl::StatusOr<Json> OptionalBody(const HttpRequest& request) {
  if (request.body.empty()) return Json::object();
  return ReadBody(request);
}

absl::StatusOr<absl::Duration> NeedDuration(const Json& body, absl::string_view name) {
  constexpr size_t kMaxBytes = 32;
  POSTERN_ASSIGN_OR_RETURN(const std::string text, NeedText(body, name, "", kMaxBytes));
  const absl::StatusOr<absl::Duration> duration = ParseDuration(text);
  if (!duration.ok()) return WrongContent(duration.status().message(), std::string(name));
  return *duration;
}

Where WhereOf(const Call& call) {
  return {.subscription = call.target.Query("subscription"),
          .resource_group = call.target.Query("resource_group"),
          .vm_name = call.target.Query("name")};
}

// The answers: some are called as what the store does for them.
namespace answer {

// Who the caller is here, and from where.
absl::StatusOr<HttpResponse> Me(AccessService&, const ApiOptions&, const Call& call) {
  const std::optional<Address>& address = call.caller.address;
  return JsonResponse(200, {{"principal", call.caller.principal},
                            {"address", address ? Json(address->ToString()) : Json(nullptr)}});
}

// Azure's form of a policy, for all subscriptions at once; with `vm`, of those for
// that VM.
absl::StatusOr<HttpResponse> ListPolicies(AccessService& access, const ApiOptions&,
                                          const Call& call) {
  Where where = WhereOf(call);
  if (!call.target.Query("vm").empty()) {
    POSTERN_ASSIGN_OR_RETURN(const VmId vm, VmId::Parse(call.target.Query("vm")));
    where.vm_key = vm.Key();
  }
  POSTERN_ASSIGN_OR_RETURN(
      const Page<PolicyView> page,
      access.ListPolicies(call.caller, where, call.target.Query("page_token")));
  Json policies = Json::array();
  for (const PolicyView& view : page.items) policies.push_back(PolicyJson(view));
  return JsonResponse(200, {{"policies", std::move(policies)}, {"next_page_token", page.next}});
}

// Not named is false.
absl::StatusOr<bool> FlagOf(const Call& call, const std::string& name) {
  const std::string text = call.target.Query(name);
  if (text == "true") return true;
  if (text.empty() || text == "false") return false;
  return WrongContent(absl::StrCat(name, " takes true or false"), name);
}

absl::StatusOr<HttpResponse> ListVms(AccessService& access, const ApiOptions&, const Call& call) {
  return PageResponse(access.ListVms(call.caller, WhereOf(call), call.target.Query("page_token")),
                      "vms");
}

absl::StatusOr<VmId> VmOf(const Call& call) { return VmId::Parse(call.target.Query("id")); }

absl::StatusOr<HttpResponse> GetVm(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const VmId vm, VmOf(call));
  return ItemResponse(access.GetVm(call.caller, vm));
}

absl::StatusOr<HttpResponse> EnableVm(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const VmId vm, VmOf(call));
  POSTERN_ASSIGN_OR_RETURN(const PolicyView view, access.EnableVm(call.caller, vm));
  return JsonResponse(200, PolicyJson(view));
}

absl::StatusOr<HttpResponse> RemoveVm(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const VmId vm, VmOf(call));
  POSTERN_ASSIGN_OR_RETURN(const bool force, FlagOf(call, "force"));
  return DoneResponse(access.RemoveVm(call.caller, vm, force));
}

absl::StatusOr<HttpResponse> ListRequests(AccessService& access, const ApiOptions&,
                                          const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const bool include_ended, FlagOf(call, "include_ended"));
  return PageResponse(access.ListRequests(call.caller, WhereOf(call), include_ended,
                                          call.target.Query("page_token")),
                      "requests");
}

absl::StatusOr<HttpResponse> GetRequest(AccessService& access, const ApiOptions&,
                                        const Call& call) {
  return ItemResponse(access.GetRequest(call.caller, call.values[0]));
}

absl::StatusOr<HttpResponse> EndRequest(AccessService& access, const ApiOptions&,
                                        const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, OptionalBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(const std::string reason,
                           ReadText(body, "reason", "", kMaxJustificationBytes));
  return ItemResponse(access.EndRequest(call.caller, call.values[0], reason));
}

absl::StatusOr<HttpResponse> ExtendRequest(AccessService& access, const ApiOptions&,
                                           const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, ReadBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(const absl::Duration by, NeedDuration(body, "duration"));
  return ItemResponse(access.ExtendRequest(call.caller, call.values[0], by));
}

absl::StatusOr<HttpResponse> MoveRequest(AccessService& access, const ApiOptions&,
                                         const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, OptionalBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(std::optional<Sources> sources, ReadSources(body, ""));
  if (!sources && call.caller.address) {
    sources = Sources{.prefixes = {Prefix::Host(*call.caller.address)}};
  }
  if (!sources) return WrongContent("names no source", "allowedSourceAddressPrefix");
  return ItemResponse(access.MoveRequest(call.caller, call.values[0], *sources));
}

absl::StatusOr<HttpResponse> ApproveRequest(AccessService& access, const ApiOptions&,
                                            const Call& call) {
  return ItemResponse(access.ApproveRequest(call.caller, call.values[0]));
}

absl::StatusOr<HttpResponse> DenyRequest(AccessService& access, const ApiOptions&,
                                         const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, OptionalBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(const std::string reason,
                           ReadText(body, "reason", "", kMaxJustificationBytes));
  return ItemResponse(access.DenyRequest(call.caller, call.values[0], reason));
}

absl::StatusOr<HttpResponse> CreateJoinToken(AccessService& access, const ApiOptions&,
                                             const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, ReadBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(const std::string scope_text,
                           NeedText(body, "scope", "", kMaxNameBytes));
  POSTERN_ASSIGN_OR_RETURN(const Scope scope, Scope::Parse(scope_text));
  POSTERN_ASSIGN_OR_RETURN(const std::string location,
                           NeedText(body, "location", "", kMaxNameBytes));
  POSTERN_ASSIGN_OR_RETURN(const absl::Duration lifetime, NeedDuration(body, "lifetime"));
  int uses = 1;
  if (const Json* given = FindMember(body, "uses")) {
    if (!given->is_number_integer() || *given < 0 || *given > 1'000'000) {
      return WrongContent("\"uses\" is no number of uses", "uses");
    }
    uses = given->get<int>();
  }
  POSTERN_ASSIGN_OR_RETURN(const NewJoinToken made,
                           access.CreateJoinToken(call.caller, scope, location, uses, lifetime));
  Json answer = ToJson(made.token);
  answer["secret"] = made.secret;
  return JsonResponse(201, answer);
}

absl::StatusOr<HttpResponse> ListJoinTokens(AccessService& access, const ApiOptions&,
                                            const Call& call) {
  return ListResponse(access.ListJoinTokens(call.caller), "join_tokens");
}

absl::StatusOr<HttpResponse> RevokeJoinToken(AccessService& access, const ApiOptions&,
                                             const Call& call) {
  return DoneResponse(access.RevokeJoinToken(call.caller, call.values[0]));
}

absl::StatusOr<HttpResponse> CreateToken(AccessService& access, const ApiOptions&,
                                         const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, ReadBody(call.request));
  POSTERN_ASSIGN_OR_RETURN(const std::string principal,
                           NeedText(body, "principal", "", kMaxNameBytes));
  POSTERN_ASSIGN_OR_RETURN(const absl::Duration lifetime, NeedDuration(body, "lifetime"));
  POSTERN_ASSIGN_OR_RETURN(const NewAccessToken made,
                           access.CreateAccessToken(call.caller, principal, lifetime));
  Json answer = ToJson(made.token);
  answer["secret"] = made.secret;
  return JsonResponse(201, answer);
}

absl::StatusOr<HttpResponse> ListTokens(AccessService& access, const ApiOptions&,
                                        const Call& call) {
  return ListResponse(access.ListAccessTokens(call.caller), "tokens");
}

absl::StatusOr<HttpResponse> RevokeToken(AccessService& access, const ApiOptions&,
                                         const Call& call) {
  return DoneResponse(access.RevokeAccessToken(call.caller, call.values[0]));
}

absl::StatusOr<HttpResponse> ListRoles(AccessService& access, const ApiOptions&, const Call& call) {
  return ListResponse(access.ListRoles(call.caller), "roles");
}

absl::StatusOr<RoleAssignment> AssignmentOf(const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const Json body, ReadBody(call.request));
  RoleAssignment assignment;
  POSTERN_ASSIGN_OR_RETURN(assignment.principal, NeedText(body, "principal", "", kMaxNameBytes));
  POSTERN_ASSIGN_OR_RETURN(const std::string role, NeedText(body, "role", "", kMaxNameBytes));
  POSTERN_ASSIGN_OR_RETURN(assignment.role, ParseRole(role));
  POSTERN_ASSIGN_OR_RETURN(const std::string scope, NeedText(body, "scope", "", kMaxNameBytes));
  POSTERN_ASSIGN_OR_RETURN(assignment.scope, Scope::Parse(scope));
  return assignment;
}

absl::StatusOr<HttpResponse> AssignRole(AccessService& access, const ApiOptions&,
                                        const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const RoleAssignment assignment, AssignmentOf(call));
  return DoneResponse(access.AssignRole(call.caller, assignment));
}

absl::StatusOr<HttpResponse> RemoveRole(AccessService& access, const ApiOptions&,
                                        const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const RoleAssignment assignment, AssignmentOf(call));
  return DoneResponse(access.RemoveRole(call.caller, assignment));
}

absl::StatusOr<std::optional<absl::Time>> TimeQuery(const Call& call, const std::string& name) {
  const std::string text = call.target.Query(name);
  if (text.empty()) return std::nullopt;
  return ReadTime(Json{{name, text}}, name, "");
}

absl::StatusOr<AuditQuery> QueryOf(const Call& call) {
  AuditQuery query{.caller = call.target.Query("caller"),
                   .operation = call.target.Query("operation"),
                   .target = call.target.Query("target")};
  POSTERN_ASSIGN_OR_RETURN(query.since, TimeQuery(call, "since"));
  POSTERN_ASSIGN_OR_RETURN(query.until, TimeQuery(call, "until"));
  const std::string page = call.target.Query("page_token");
  if (!page.empty() && !absl::SimpleAtoi(page, &query.after)) {
    return WrongContent("the page is not one that an answer named", "page_token");
  }
  return query;
}

// All that is asked for, a thousand rows at a time.
HttpResponse AuditCsv(AccessService& access, const Caller& caller, const AuditQuery& query,
                      const std::vector<AuditRow>& first) {
  const auto lines = [](const std::vector<AuditRow>& rows) {
    std::string text;
    for (const AuditRow& row : rows) text += AuditCsvLine(row);
    return text;
  };
  HttpResponse response{
      .headers = {{"Content-Type", "text/csv; charset=utf-8"},
                  {"Content-Disposition", "attachment; filename=\"postern-audit.csv\""}},
      .body = AuditCsvHeader() + lines(first)};
  auto next = std::make_shared<AuditQuery>(query);
  auto done = std::make_shared<bool>(first.size() < kAuditPage);
  if (!first.empty()) next->after = first.back().number;
  response.more = [&access, caller, next, done, lines]() -> absl::StatusOr<std::string> {
    if (*done) return "";
    POSTERN_ASSIGN_OR_RETURN(const std::vector<AuditRow> rows,
                             access.ReadAudit(caller, *next, kAuditPage));
    *done = rows.size() < kAuditPage;
    if (!rows.empty()) next->after = rows.back().number;
    return lines(rows);
  };
  return response;
}

absl::StatusOr<HttpResponse> ReadAudit(AccessService& access, const ApiOptions&, const Call& call) {
  POSTERN_ASSIGN_OR_RETURN(const AuditQuery query, QueryOf(call));
  const std::string format = call.target.Query("format");
  if (!format.empty() && format != "csv" && format != "json") {
    return WrongContent("format takes csv or json", "format");
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<AuditRow> rows,
                           access.ReadAudit(call.caller, query, kAuditPage));
  const bool wants_csv = absl::StrContains(call.request.Header("accept"), "text/csv");
  if (format == "csv" || (format.empty() && wants_csv)) {
    return AuditCsv(access, call.caller, query, rows);
  }
  const std::string next = rows.size() < kAuditPage ? "" : absl::StrCat(rows.back().number);
  return JsonResponse(200, {{"events", ListJson(rows)}, {"next_page_token", next}});
}

absl::StatusOr<HttpResponse> VerifyAudit(AccessService& access, const ApiOptions&,
                                         const Call& call) {
  const absl::Status verified = access.VerifyAudit(call.caller);
  if (verified.ok()) return JsonResponse(200, {{"intact", true}, {"problem", ""}});
  if (!absl::IsDataLoss(verified)) return verified;
  return JsonResponse(200, {{"intact", false}, {"problem", std::string(verified.message())}});
}

}  // namespace answer
}  // namespace

const std::vector<Route>& PosternRoutes() {
  static const auto& routes = *new std::vector<Route>{
      {"GET", "/postern/v1/me", answer::Me},
      {"GET",
       "/postern/v1/policies",
       answer::ListPolicies,
       {"subscription", "resource_group", "vm", "page_token"}},
      {"GET",
       "/postern/v1/vms",
       answer::ListVms,
       {"subscription", "resource_group", "name", "page_token"}},
      {"GET", "/postern/v1/vm", answer::GetVm, {"id"}},
      {"DELETE", "/postern/v1/vm", answer::RemoveVm, {"id", "force"}},
      {"POST", "/postern/v1/vm/enable", answer::EnableVm, {"id"}},
      {"GET",
       "/postern/v1/requests",
       answer::ListRequests,
       {"subscription", "resource_group", "include_ended", "page_token"}},
      {"GET", "/postern/v1/requests/{}", answer::GetRequest},
      {"POST", "/postern/v1/requests/{}/end", answer::EndRequest},
      {"POST", "/postern/v1/requests/{}/extend", answer::ExtendRequest},
      {"POST", "/postern/v1/requests/{}/move", answer::MoveRequest},
      {"POST", "/postern/v1/requests/{}/approve", answer::ApproveRequest},
      {"POST", "/postern/v1/requests/{}/deny", answer::DenyRequest},
      {"POST", "/postern/v1/join-tokens", answer::CreateJoinToken},
      {"GET", "/postern/v1/join-tokens", answer::ListJoinTokens},
      {"DELETE", "/postern/v1/join-tokens/{}", answer::RevokeJoinToken},
      {"POST", "/postern/v1/tokens", answer::CreateToken},
      {"GET", "/postern/v1/tokens", answer::ListTokens},
      {"DELETE", "/postern/v1/tokens/{}", answer::RevokeToken},
      {"GET", "/postern/v1/roles", answer::ListRoles},
      {"PUT", "/postern/v1/roles", answer::AssignRole},
      {"DELETE", "/postern/v1/roles", answer::RemoveRole},
      {"GET",
       "/postern/v1/audit",
       answer::ReadAudit,
       {"caller", "operation", "target", "since", "until", "format", "page_token"}},
      {"POST", "/postern/v1/audit/verify", answer::VerifyAudit},
  };
  return routes;
}

}  // namespace postern::controller
