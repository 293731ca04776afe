#include "cli/controller/verbs.h"

#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/controller/describe.h"
#include "cli/exit_code.h"
#include "cli/verbs.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {

int Do(const ControllerCommand& command, Session& session) {
  return std::visit([&](const auto& one) { return Do(one, session); }, command);
}

int ShowAnswer(const absl::StatusOr<Json>& answer,
               std::string (*describe)(const Json&, const Reader&), Session& session) {
  if (!answer.ok()) return session.Fail(answer.status());
  session.PrintJson(*answer, describe(*answer, session.reader()));
  return kExitDone;
}

int ShowList(const absl::StatusOr<Json>& list, const std::string& name, const std::string& none,
             std::string (*describe)(const Json&, const Reader&), Session& session) {
  if (!list.ok()) return session.Fail(list.status());
  if (list->empty() && session.format() == Format::kTable) {
    session.Say(none);
    return kExitDone;
  }
  session.PrintJson({{name, *list}}, describe(*list, session.reader()));
  return kExitDone;
}

int ShowDone(const absl::Status& status, const std::string& words, Session& session) {
  if (!status.ok()) return session.Fail(status);
  session.Say(words);
  return kExitDone;
}

absl::StatusOr<std::string> ResolveVm(const ControllerClient& controller, const std::string& name) {
  if (absl::StartsWith(name, "/")) return name;
  POSTERN_ASSIGN_OR_RETURN(
      const Json vms,
      controller.List(absl::StrCat("/postern/v1/vms?name=", PercentEncoded(name)), "vms"));
  if (vms.empty()) {
    return absl::NotFoundError(absl::StrCat("no VM that you may see is named ", Printable(name),
                                            "; posternctl vm list shows them"));
  }
  if (vms.size() == 1) return vms[0].value("id", "");
  std::string ids;
  for (const Json& vm : vms) absl::StrAppend(&ids, "\n  ", TextOf(vm, "id"));
  return absl::InvalidArgumentError(
      absl::StrCat(vms.size(), " VMs are named ", Printable(name), "; give an id:", ids));
}

}  // namespace postern
