// denied, self: who was refused.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/exit_code.h"
#include "cli/forms.h"
#include "cli/proto_time.h"
#include "cli/self.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/status.h"

namespace postern {
namespace {

// As many as the agent tells at once.
constexpr int kMostSources = 1000;

absl::StatusOr<v1::ListDeniedResponse> ListDenied(AgentClient& agent) {
  v1::ListDeniedRequest request;
  request.set_max_sources(kMostSources);
  return agent.ListDenied(request);
}

// The port of this host that the ssh session came to: the last of the four fields.
v1::Port SshPort(const std::string& ssh_connection) {
  const std::vector<std::string> fields = absl::StrSplit(ssh_connection, ' ');
  return ParsePort(fields.back()).value_or(*ParsePort("22"));
}

absl::Status AskAgent(AgentClient& agent, const Session& session, SelfFacts& facts) {
  facts.status = agent.GetStatus();
  if (!facts.status.ok()) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(facts.denied, ListDenied(agent));
  POSTERN_ASSIGN_OR_RETURN(facts.grants, ListAllGrants(agent, /*include_ended=*/true));
  POSTERN_ASSIGN_OR_RETURN(facts.diagnosis, agent.Diagnose());
  if (!facts.ssh_client) return absl::OkStatus();
  v1::CheckAccessRequest request;
  request.set_source_address(facts.ssh_client->ToString());
  *request.mutable_port() = SshPort(session.environment().Get("SSH_CONNECTION"));
  POSTERN_ASSIGN_OR_RETURN(facts.ssh_client_access, agent.Check(request));
  return absl::OkStatus();
}

}  // namespace

int Do(const DeniedCommand& /*command*/, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const absl::StatusOr<v1::ListDeniedResponse> denied = ListDenied(**agent);
  if (!denied.ok()) return session.Fail(denied.status());
  const std::string within = DurationText(FromProto(denied->remembered_for()));
  if (session.format() == Format::kTable && denied->sources().empty()) {
    session.Say(absl::StrCat("nobody knocked without a grant in the last ", within));
    return kExitDone;
  }
  const absl::Status printed = session.Print(*denied, DescribeDenied(*denied, session.reader()));
  if (!printed.ok()) return session.Fail(printed);
  if (session.format() != Format::kTable) return kExitDone;
  if (denied->let_through()) session.Say("the mode is observe: all of these were let through");
  const auto told = static_cast<uint32_t>(denied->sources_size());
  if (denied->total() > told) {
    session.Say(absl::StrCat("and ", denied->total() - told, " more that were seen before"));
  }
  return kExitDone;
}

int Do(const SelfCommand& /*command*/, Session& session) {
  if (!session.is_local()) {
    return session.Fail(absl::InvalidArgumentError(
        "self is about the VM that it runs on; leave --address and POSTERN_ADDRESS out"));
  }
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  SelfFacts facts;
  facts.listeners = session.environment().listeners();
  const absl::StatusOr<Address> client = SshClient(session.environment().Get("SSH_CONNECTION"));
  if (client.ok()) facts.ssh_client = *client;
  const absl::Status asked = AskAgent(**agent, session, facts);
  if (!asked.ok()) return session.Fail(asked);
  const v1::SelfReport report = PutTogether(facts);
  const absl::Status printed = session.Print(report, DescribeSelf(report, session.reader()));
  if (!printed.ok()) return session.Fail(printed);
  return facts.status.ok() ? kExitDone : kExitFailed;
}

}  // namespace postern
