// grant, extend, move, revoke.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/exit_code.h"
#include "cli/failure.h"
#include "cli/forms.h"
#include "cli/proto_time.h"
#include "cli/verbs.h"
#include "common/status.h"

namespace postern {
namespace {

// The sources to send. Without --from these are none where the agent sees the
// caller's address, and ssh's idea of it on the local socket, which has none.
absl::StatusOr<std::vector<Prefix>> SourcesToSend(const std::vector<Prefix>& given,
                                                  Session& session) {
  if (!given.empty() || !session.is_local()) return given;
  const std::string ssh = session.environment().Get("SSH_CONNECTION");
  if (ssh.empty()) {
    return absl::InvalidArgumentError(
        "--from is missing: the local socket shows no address, and SSH_CONNECTION is not set "
        "(sudo clears it: sudo --preserve-env=SSH_CONNECTION posternctl ...)");
  }
  POSTERN_ASSIGN_OR_RETURN(const Address address, SshClient(ssh));
  const Prefix prefix = Prefix::Host(address);
  session.Say(absl::StrCat("no --from: using ", prefix.ToString(),
                           ", where you come from by SSH_CONNECTION"));
  return std::vector<Prefix>{prefix};
}

template <typename Request>
void SetSources(const std::vector<Prefix>& sources, Request& request) {
  for (const Prefix& source : sources) request.add_source_prefixes(source.ToString());
}

// Says which address the agent took for a request that named none.
void SaySeenSource(const v1::Grant& grant, Session& session) {
  session.Say(absl::StrCat("no --from: the agent used the address it sees you at, ",
                           absl::StrJoin(grant.source_prefixes(), ", ")));
}

int ShowGrant(const absl::StatusOr<v1::Grant>& grant, Session& session) {
  if (!grant.ok()) return session.Fail(grant.status());
  const absl::Status printed = session.Print(*grant, DescribeGrant(*grant, session.reader()));
  return printed.ok() ? kExitDone : session.Fail(printed);
}

v1::CreateGrantRequest RequestFor(const GrantCommand& command, const std::vector<Prefix>& sources,
                                  absl::Time now) {
  v1::CreateGrantRequest request;
  request.set_id(command.id);
  SetSources(sources, request);
  for (const v1::Port& port : command.ports) *request.add_ports() = port;
  *request.mutable_duration() = ToProto(command.duration);
  if (command.not_after) *request.mutable_not_after() = ToProto(*command.not_after);
  request.set_requestor(command.requestor);
  request.set_justification(command.justification);
  request.set_on_expiry(command.on_expiry);
  *request.mutable_sent_at() = ToProto(now);
  return request;
}

int RevokeAll(const RevokeCommand& command, AgentClient& agent, Session& session) {
  const absl::StatusOr<std::vector<v1::Grant>> live = ListAllGrants(agent, false);
  if (!live.ok()) return session.Fail(live.status());
  std::vector<v1::Grant> revoked;
  int exit_code = kExitDone;
  for (const v1::Grant& grant : *live) {
    v1::RevokeGrantRequest request;
    request.set_id(grant.id());
    request.set_keep_sessions(command.keep_sessions);
    request.set_reason(command.reason);
    absl::StatusOr<v1::Grant> reply = agent.Revoke(request);
    if (reply.ok()) {
      revoked.push_back(*std::move(reply));
      continue;
    }
    session.Say(absl::StrCat("grant ", grant.id(), " was not revoked:"));
    const int failed = session.Fail(reply.status());
    if (exit_code == kExitDone) exit_code = failed;
  }
  if (live->empty()) session.Say("there are no live grants");
  std::string words;
  std::vector<const google::protobuf::Message*> replies;
  for (const v1::Grant& grant : revoked) {
    absl::StrAppend(&words, DescribeGrant(grant, session.reader()));
    replies.push_back(&grant);
  }
  const absl::Status printed = session.PrintList("grants", replies, words);
  return printed.ok() ? exit_code : session.Fail(printed);
}

}  // namespace

int Do(const GrantCommand& command, Session& session) {
  const absl::StatusOr<std::vector<Prefix>> sources = SourcesToSend(command.from, session);
  if (!sources.ok()) return session.Fail(sources.status());
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const v1::CreateGrantRequest request = RequestFor(command, *sources, session.environment().now());
  absl::StatusOr<v1::Grant> grant = (*agent)->Create(request);
  // The id makes the repeat harmless, whether or not the first one arrived.
  if (absl::IsUnavailable(grant.status())) grant = (*agent)->Create(request);
  if (absl::IsUnavailable(grant.status()) || absl::IsDeadlineExceeded(grant.status())) {
    const int exit_code = session.Fail(grant.status());
    session.Say(
        absl::StrCat("should the agent have heard it after all: repeat it with --id ", command.id));
    return exit_code;
  }
  if (grant.ok() && sources->empty()) SaySeenSource(*grant, session);
  return ShowGrant(grant, session);
}

int Do(const ExtendCommand& command, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  v1::ExtendGrantRequest request;
  request.set_id(command.id);
  *request.mutable_duration() = ToProto(command.duration);
  return ShowGrant((*agent)->Extend(request), session);
}

int Do(const MoveCommand& command, Session& session) {
  const absl::StatusOr<std::vector<Prefix>> sources = SourcesToSend(command.from, session);
  if (!sources.ok()) return session.Fail(sources.status());
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  v1::MoveGrantRequest request;
  request.set_id(command.id);
  SetSources(*sources, request);
  const absl::StatusOr<v1::Grant> grant = (*agent)->Move(request);
  if (grant.ok() && sources->empty()) SaySeenSource(*grant, session);
  return ShowGrant(grant, session);
}

int Do(const RevokeCommand& command, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  if (command.id.empty()) return RevokeAll(command, **agent, session);
  v1::RevokeGrantRequest request;
  request.set_id(command.id);
  request.set_keep_sessions(command.keep_sessions);
  request.set_reason(command.reason);
  return ShowGrant((*agent)->Revoke(request), session);
}

}  // namespace postern
