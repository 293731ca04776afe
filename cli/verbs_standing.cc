// lockdown, arm, confirm, disarm.

#include "absl/strings/str_cat.h"
#include "cli/exit_code.h"
#include "cli/proto_time.h"
#include "cli/verbs.h"
#include "common/text.h"

namespace postern {
namespace {

template <typename Reply>
int Show(const absl::StatusOr<Reply>& reply, const std::string& words, Session& session) {
  if (!reply.ok()) return session.Fail(reply.status());
  const absl::Status printed = session.Print(*reply, words);
  return printed.ok() ? kExitDone : session.Fail(printed);
}

std::string DescribeArmed(const v1::ArmedState& armed, const Reader& reader) {
  if (!armed.has_confirm_by()) return "the gate enforces, until it is disarmed\n";
  const absl::Time by = FromProto(armed.confirm_by());
  return absl::StrCat("the gate enforces, and observes again at ", DescribeTime(by, reader), " (",
                      DescribeDistance(by, reader),
                      ") unless posternctl confirm comes before that\n");
}

}  // namespace

int Do(const LockdownCommand& command, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  if (command.lift) return Show((*agent)->LiftLockdown(), "grants are taken again\n", session);
  v1::LockdownRequest request;
  request.set_reason(command.reason);
  const absl::StatusOr<v1::LockdownResponse> reply = (*agent)->Lockdown(request);
  const uint32_t ended = reply.ok() ? reply->ended_grants() : 0;
  return Show(reply,
              absl::StrCat("locked down: ", ended, ended == 1 ? " grant was" : " grants were",
                           " ended, and no new one is made until posternctl lockdown --lift\n"),
              session);
}

int Do(const ArmCommand& command, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  v1::ArmRequest request;
  *request.mutable_confirm_within() = ToProto(command.confirm_within);
  const absl::StatusOr<v1::ArmResponse> reply = (*agent)->Arm(request);
  if (!reply.ok()) return session.Fail(reply.status());
  for (const std::string& exposed : reply->exposed_sessions()) {
    session.Say(absl::StrCat("the session from ", Printable(exposed),
                             " stays, but no grant covers it: it could not be opened again"));
  }
  return Show(reply, DescribeArmed(reply->armed(), session.reader()), session);
}

int Do(const ConfirmCommand& /*command*/, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const absl::StatusOr<v1::ConfirmResponse> reply = (*agent)->Confirm();
  return Show(reply, reply.ok() ? DescribeArmed(reply->armed(), session.reader()) : "", session);
}

int Do(const DisarmCommand& /*command*/, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  return Show((*agent)->Disarm(), "the gate observes; nothing is dropped\n", session);
}

}  // namespace postern
