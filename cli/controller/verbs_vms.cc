// vm, with its join tokens.

#include "absl/strings/str_cat.h"
#include "cli/controller/describe.h"
#include "cli/controller/verbs.h"
#include "cli/exit_code.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

std::string PathOf(const std::string& vm) {
  return absl::StrCat("/postern/v1/vm?id=", PercentEncoded(vm));
}

}  // namespace

int Do(const VmListCommand& /*command*/, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowList(controller->List("/postern/v1/vms?", "vms"), "vms",
                  "no VM that you may see has joined; posternctl vm join-token lets one in",
                  DescribeVms, session);
}

int Do(const VmShowCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<std::string> vm = ResolveVm(*controller, command.vm);
  if (!vm.ok()) return session.Fail(vm.status());
  return ShowAnswer(controller->Get(PathOf(*vm)), DescribeVm, session);
}

int Do(const VmRemoveCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<std::string> vm = ResolveVm(*controller, command.vm);
  if (!vm.ok()) return session.Fail(vm.status());
  return ShowDone(
      controller
          ->Call("DELETE", absl::StrCat(PathOf(*vm), command.force ? "&force=true" : ""), nullptr)
          .status(),
      absl::StrCat(*vm, " is forgotten; its agent is turned away"), session);
}

int Do(const JoinTokenCreateCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<Json> made = controller->Call("POST", "/postern/v1/join-tokens",
                                                     {{"scope", command.scope},
                                                      {"location", command.location},
                                                      {"lifetime", DurationText(command.lifetime)},
                                                      {"uses", command.uses}});
  if (!made.ok()) return session.Fail(made.status());
  session.PrintJson(*made, absl::StrCat(TextOf(*made, "secret"), "\n"));
  return kExitDone;
}

int Do(const JoinTokenListCommand& /*command*/, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowList(controller->List("/postern/v1/join-tokens?", "join_tokens"), "join_tokens",
                  "there are no join tokens", DescribeJoinTokens, session);
}

int Do(const JoinTokenRevokeCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const std::string path = absl::StrCat("/postern/v1/join-tokens/", PercentEncoded(command.id));
  return ShowDone(controller->Call("DELETE", path, nullptr).status(),
                  absl::StrCat("the join token ", command.id, " lets nobody in any more"), session);
}

}  // namespace postern
