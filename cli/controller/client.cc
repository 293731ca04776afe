#include "cli/controller/client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/failure.h"
#include "cli/files.h"
#include "common/status.h"
#include "common/text.h"
#include "common/uuid.h"

namespace postern {
namespace {

constexpr size_t kMaxAnswerBytes = size_t{16} << 20;
constexpr absl::Duration kLongestStream = absl::Hours(24);
constexpr int kMostPages = 10'000;

absl::StatusCode CodeOf(int status) {
  switch (status) {
    case 400:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
    case 412:
      return absl::StatusCode::kFailedPrecondition;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 503:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kUnknown;
  }
}

std::string HintOf(const HttpsAnswer& answer, const std::string& code) {
  if (answer.status == 401) {
    return "whoever may assign roles makes a token: posternctl token create --principal user:YOU";
  }
  if (code == "AuthorizationFailed") {
    return "an owner gives the role that may: posternctl role assign (posternctl role --help says "
           "what each may do)";
  }
  const std::string wait = answer.Header("retry-after");
  const bool seconds =
      !wait.empty() && wait.size() < 6 &&
      std::all_of(wait.begin(), wait.end(), [](unsigned char c) { return absl::ascii_isdigit(c); });
  return answer.status == 429 && seconds ? absl::StrCat("try again in ", wait, " seconds") : "";
}

absl::Status FailureOf(const HttpsAnswer& answer) {
  const Json body = Json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  const Json& error = ObjectOf(body, "error");
  std::string message = TextOf(error, "message");
  if (message.empty()) message = absl::StrCat("the controller answers ", answer.status);
  const std::string target = TextOf(error, "target");
  if (!target.empty()) message = absl::StrCat(target, ": ", message);
  return ServerFailure(CodeOf(answer.status), message, "", HintOf(answer, TextOf(error, "code")));
}

absl::StatusOr<std::string> TokenOf(const ControllerPlace& place,
                                    std::vector<std::string>& warnings) {
  if (place.token_file.empty()) return place.token;
  POSTERN_ASSIGN_OR_RETURN(const SmallFile file, ReadSmallFile(place.token_file));
  if (file.readable_by_others) {
    warnings.push_back(
        absl::StrCat(Printable(place.token_file), " can be read by others; chmod 600 it"));
  }
  std::string token(absl::StripAsciiWhitespace(file.content));
  if (!token.empty()) return token;
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(place.token_file),
                   " holds no token; posternctl token create prints "
                   "one, at an owner's"));
}

// One that could end its header and begin another is none.
absl::Status CheckToken(absl::string_view token) {
  if (std::all_of(token.begin(), token.end(),
                  [](unsigned char c) { return absl::ascii_isgraph(c); })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the token has characters that no token has");
}

}  // namespace

absl::StatusOr<ControllerClient> ControllerClient::Open(const ControllerPlace& place,
                                                        absl::Duration timeout,
                                                        std::vector<std::string>& warnings) {
  ControllerClient client;
  client.url_ = place.url;
  client.timeout_ = timeout;
  if (!place.ca_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(SmallFile ca, ReadSmallFile(place.ca_file));
    client.authorities_ = std::move(ca.content);
    client.ca_file_ = place.ca_file;
  }
  if (!place.cert_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(SmallFile cert, ReadSmallFile(place.cert_file));
    POSTERN_ASSIGN_OR_RETURN(SmallFile key, ReadSmallFile(place.key_file));
    client.certificate_ = std::move(cert.content);
    client.key_ = std::move(key.content);
  }
  POSTERN_ASSIGN_OR_RETURN(const std::string token, TokenOf(place, warnings));
  POSTERN_RETURN_IF_ERROR(CheckToken(token));
  if (!token.empty()) client.authorization_ = absl::StrCat("Bearer ", token);
  return client;
}

HttpsRequest ControllerClient::To(const std::string& path) const {
  HttpsRequest request{.url = absl::StrCat(url_, path),
                       .headers = {{"User-Agent", "posternctl"}},
                       .authorities = authorities_,
                       .certificate = certificate_,
                       .key = key_,
                       .max_bytes = kMaxAnswerBytes,
                       .time = timeout_};
  if (!authorization_.empty()) request.headers.emplace_back("Authorization", authorization_);
  return request;
}

// What does not begin with a slash would go on with the host's name, and lead the
// token to another host.
absl::StatusOr<HttpsAnswer> ControllerClient::Send(const HttpsRequest& request,
                                                   const std::string& path) const {
  if (path.empty() || path[0] != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", Printable(path), "\" is no id: one begins with /subscriptions/"));
  }
  absl::StatusOr<HttpsAnswer> answer = Exchange(request);
  if (answer.ok()) return answer;
  return ServerFailure(answer.status().code(),
                       absl::StrCat(Printable(url_), ": ", answer.status().message()), "",
                       HintFor(answer.status()));
}

std::string ControllerClient::HintFor(const absl::Status& failure) const {
  switch (failure.code()) {
    case absl::StatusCode::kInvalidArgument:
      return "--ca, --cert and --key name PEM files";
    case absl::StatusCode::kUnauthenticated:
      return absl::StrCat("it is held against ",
                          ca_file_.empty() ? "the authorities of this host" : Printable(ca_file_),
                          " (--ca); a controller's own authority is ca.pem in its state folder, "
                          "and its certificate is for the names in controller.yaml");
    case absl::StatusCode::kUnavailable:
      return "postern-controller serves people at rest.address of controller.yaml, port 8443 "
             "where that says nothing";
    default:
      return "";
  }
}

absl::StatusOr<Json> ControllerClient::Ask(const std::string& method, const std::string& path,
                                           const Json* body, const std::string& id) const {
  HttpsRequest request = To(path);
  request.method = method;
  if (!id.empty()) request.headers.emplace_back("x-ms-client-request-id", id);
  if (body != nullptr) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.body = body->dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  const absl::StatusOr<HttpsAnswer> answer = Send(request, path);
  POSTERN_RETURN_IF_ERROR(answer.status());
  if (answer->status < 200 || answer->status > 299) return FailureOf(*answer);
  if (answer->body.empty()) return Json(nullptr);
  Json parsed = Json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) {
    return absl::InternalError(absl::StrCat(Printable(url_), " answers what is no JSON"));
  }
  return parsed;
}

absl::StatusOr<Json> ControllerClient::Get(const std::string& path) const {
  return Ask("GET", path, nullptr, "");
}

absl::StatusOr<Json> ControllerClient::Call(const std::string& method, const std::string& path,
                                            const Json& body) const {
  return Ask(method, path, body.is_null() ? nullptr : &body, "");
}

absl::StatusOr<Json> ControllerClient::PostOnce(const std::string& path, const Json& body) const {
  const std::string id = NewUuid();
  absl::StatusOr<Json> answer = Ask("POST", path, &body, id);
  if (absl::IsUnavailable(answer.status())) answer = Ask("POST", path, &body, id);
  return answer;
}

absl::StatusOr<Json> ControllerClient::List(const std::string& path,
                                            const std::string& name) const {
  Json all = Json::array();
  std::string page;
  for (int i = 0; i < kMostPages; ++i) {
    POSTERN_ASSIGN_OR_RETURN(
        Json answer,
        Get(page.empty() ? path : absl::StrCat(path, "&page_token=", PercentEncoded(page))));
    for (const Json& item : ListOf(answer, name)) all.push_back(item);
    const auto next = answer.find("next_page_token");
    if (next == answer.end() || !next->is_string() || next->get<std::string>().empty()) break;
    page = next->get<std::string>();
  }
  return all;
}

absl::Status ControllerClient::Stream(
    const std::string& path, const std::function<absl::Status(absl::string_view)>& take) const {
  HttpsRequest request = To(path);
  request.time = kLongestStream;
  request.take = take;
  const absl::StatusOr<HttpsAnswer> answer = Send(request, path);
  POSTERN_RETURN_IF_ERROR(answer.status());
  return answer->status == 200 ? absl::OkStatus() : FailureOf(*answer);
}

std::string TextOf(const Json& object, absl::string_view name) {
  if (!object.is_object()) return "";
  const auto found = object.find(std::string(name));
  return found != object.end() && found->is_string() ? Printable(found->get<std::string>()) : "";
}

const Json& ListOf(const Json& object, absl::string_view name) {
  static const auto& empty = *new Json(Json::array());
  if (!object.is_object()) return empty;
  const auto found = object.find(std::string(name));
  return found != object.end() && found->is_array() ? *found : empty;
}

const Json& ObjectOf(const Json& object, absl::string_view name) {
  static const auto& empty = *new Json(Json::object());
  if (!object.is_object()) return empty;
  const auto found = object.find(std::string(name));
  return found != object.end() && found->is_object() ? *found : empty;
}

int64_t NumberOf(const Json& object, absl::string_view name) {
  if (!object.is_object()) return 0;
  const auto found = object.find(std::string(name));
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace postern
