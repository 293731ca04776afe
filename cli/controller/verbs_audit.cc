// The controller's audit.

#include "absl/strings/str_cat.h"
#include "cli/controller/describe.h"
#include "cli/controller/verbs.h"
#include "cli/exit_code.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

int Verify(const ControllerClient& controller, Session& session) {
  const absl::StatusOr<Json> answer =
      controller.Call("POST", "/postern/v1/audit/verify", Json::object());
  if (!answer.ok()) return session.Fail(answer.status());
  const bool intact = answer->is_object() && answer->value("intact", false);
  session.PrintJson(
      *answer, intact ? "the audit is whole\n" : absl::StrCat(TextOf(*answer, "problem"), "\n"));
  return intact ? kExitDone : kExitFailed;
}

}  // namespace

int ShowFleetAudit(const AuditCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  if (command.verify) return Verify(*controller, session);
  std::string path = "/postern/v1/audit?";
  if (command.since) {
    absl::StrAppend(&path, "since=",
                    PercentEncoded(absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", *command.since,
                                                    absl::UTCTimeZone())));
  }
  if (session.format() != Format::kCsv) {
    return ShowList(controller->List(path, "events"), "events", "nothing is on record",
                    DescribeFleetEvents, session);
  }
  const absl::Status status =
      controller->Stream(absl::StrCat(path, "&format=csv"), [&](absl::string_view piece) {
        session.out() << piece;
        return session.out().good() ? absl::OkStatus() : absl::AbortedError("stdout is closed");
      });
  return status.ok() ? kExitDone : session.Fail(status);
}

}  // namespace postern
