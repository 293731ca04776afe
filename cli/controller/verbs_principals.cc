// role and token.

#include "absl/strings/str_cat.h"
#include "cli/controller/describe.h"
#include "cli/controller/verbs.h"
#include "cli/exit_code.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {

int Do(const RoleListCommand& /*command*/, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowList(controller->List("/postern/v1/roles?", "roles"), "roles",
                  "you have no role yet; an owner gives one: posternctl role assign", DescribeRoles,
                  session);
}

int Do(const RoleChangeCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const Json assignment = {
      {"principal", command.principal}, {"role", command.role}, {"scope", command.scope}};
  const char* method = command.assign ? "PUT" : "DELETE";
  return ShowDone(
      controller->Call(method, "/postern/v1/roles", assignment).status(),
      absl::StrCat(command.principal, command.assign ? " is " : " is not ", command.role, " of ",
                   command.scope, command.assign ? " from now on" : " any more"),
      session);
}

int Do(const TokenCreateCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<Json> made = controller->Call(
      "POST", "/postern/v1/tokens",
      {{"principal", command.principal}, {"lifetime", DurationText(command.lifetime)}});
  if (!made.ok()) return session.Fail(made.status());
  session.PrintJson(*made, absl::StrCat(TextOf(*made, "secret"), "\n"));
  return kExitDone;
}

int Do(const TokenListCommand& /*command*/, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowList(controller->List("/postern/v1/tokens?", "tokens"), "tokens",
                  "there are no tokens that you may see", DescribeTokens, session);
}

int Do(const TokenRevokeCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const std::string path = absl::StrCat("/postern/v1/tokens/", PercentEncoded(command.id));
  return ShowDone(controller->Call("DELETE", path, nullptr).status(),
                  absl::StrCat("the token ", command.id, " is good for nothing any more"), session);
}

}  // namespace postern
