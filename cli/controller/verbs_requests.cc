// request.

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/controller/access.h"
#include "cli/controller/describe.h"
#include "cli/controller/verbs.h"
#include "cli/exit_code.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

std::string PathOf(const std::string& id, const char* verb = "") {
  return absl::StrCat("/postern/v1/requests/", PercentEncoded(id), verb);
}

Json Because(const std::string& reason) {
  return reason.empty() ? Json::object() : Json{{"reason", reason}};
}

// What `verb` makes of a request.
int Change(const std::string& id, const char* verb, const Json& body, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowAnswer(controller->Call("POST", PathOf(id, verb), body), DescribeRequest, session);
}

}  // namespace

int Do(const RequestCreateCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<std::string> id = AskForAccess(*controller, command.access);
  if (!id.ok()) return session.Fail(id.status());
  if (!command.wait) return ShowAnswer(controller->Get(PathOf(*id)), DescribeRequest, session);
  const absl::StatusOr<Json> request =
      AwaitAnswer(*controller, *id, EveryPort, command.access.patience, session);
  const int shown = ShowAnswer(request, DescribeRequest, session);
  return shown == kExitDone && !CheckOpen(*request, EveryPort).ok() ? kExitFailed : shown;
}

int Do(const RequestListCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowList(
      controller->List(
          absl::StrCat("/postern/v1/requests?", command.include_ended ? "include_ended=true" : ""),
          "requests"),
      "requests", command.include_ended ? "there are no requests" : "there are no live requests",
      DescribeRequests, session);
}

int Do(const RequestShowCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowAnswer(controller->Get(PathOf(command.id)), DescribeRequest, session);
}

int Do(const RequestEndCommand& command, Session& session) {
  return Change(command.id, "/end", Because(command.reason), session);
}

int Do(const RequestExtendCommand& command, Session& session) {
  return Change(command.id, "/extend", {{"duration", DurationText(command.duration)}}, session);
}

int Do(const RequestMoveCommand& command, Session& session) {
  Json body = Json::object();
  for (const Prefix& source : command.from) {
    body["allowedSourceAddressPrefixes"].push_back(source.ToString());
  }
  return Change(command.id, "/move", body, session);
}

int Do(const RequestApproveCommand& command, Session& session) {
  return Change(command.id, "/approve", Json::object(), session);
}

int Do(const RequestDenyCommand& command, Session& session) {
  return Change(command.id, "/deny", Because(command.reason), session);
}

}  // namespace postern
