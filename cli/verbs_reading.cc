// status, grants, check, doctor.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/exit_code.h"
#include "cli/failure.h"
#include "cli/verbs.h"
#include "common/status.h"

namespace postern {

absl::StatusOr<std::vector<v1::Grant>> ListAllGrants(AgentClient& agent, bool include_ended) {
  constexpr int kPageSize = 1000;
  std::vector<v1::Grant> grants;
  v1::ListGrantsRequest request;
  request.set_include_ended(include_ended);
  request.set_page_size(kPageSize);
  for (;;) {
    POSTERN_ASSIGN_OR_RETURN(v1::ListGrantsResponse page, agent.List(request));
    for (v1::Grant& grant : *page.mutable_grants()) grants.push_back(std::move(grant));
    if (page.next_page_token().empty()) return grants;
    if (page.next_page_token() == request.page_token()) {
      return absl::InternalError("the agent gives the same page of grants again and again");
    }
    request.set_page_token(page.next_page_token());
  }
}

int Do(const StatusCommand& /*command*/, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const absl::StatusOr<v1::GetStatusResponse> status = (*agent)->GetStatus();
  if (!status.ok()) return session.Fail(status.status());
  const absl::Status printed = session.Print(*status, DescribeStatus(*status, session.reader()));
  return printed.ok() ? kExitDone : session.Fail(printed);
}

int Do(const GrantsCommand& command, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const absl::StatusOr<std::vector<v1::Grant>> grants =
      ListAllGrants(**agent, command.include_ended);
  if (!grants.ok()) return session.Fail(grants.status());
  std::vector<const google::protobuf::Message*> replies;
  for (const v1::Grant& grant : *grants) replies.push_back(&grant);
  if (grants->empty() && session.format() == Format::kTable) {
    session.Say(command.include_ended ? "there are no grants" : "there are no live grants");
    return kExitDone;
  }
  const absl::Status printed =
      session.PrintList("grants", replies, DescribeGrants(*grants, session.reader()));
  return printed.ok() ? kExitDone : session.Fail(printed);
}

int Do(const CheckCommand& command, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  v1::CheckAccessRequest request;
  request.set_source_address(command.from.ToString());
  *request.mutable_port() = command.port;
  const absl::StatusOr<v1::CheckAccessResponse> check = (*agent)->Check(request);
  if (!check.ok()) return session.Fail(check.status());
  const absl::Status printed = session.Print(*check, DescribeCheck(*check, session.reader()));
  if (!printed.ok()) return session.Fail(printed);
  return check->allowed() ? kExitDone : kExitFailed;
}

int Do(const DoctorCommand& /*command*/, Session& session) {
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const absl::StatusOr<v1::DiagnoseResponse> diagnosis = (*agent)->Diagnose();
  if (!diagnosis.ok()) return session.Fail(diagnosis.status());
  const absl::Status printed =
      session.Print(*diagnosis, DescribeFindings(*diagnosis, session.reader()));
  if (!printed.ok()) return session.Fail(printed);
  const auto& findings = diagnosis->findings();
  // What a newer agent calls otherwise is more than a notice.
  const bool well = std::all_of(findings.begin(), findings.end(), [](const v1::Finding& finding) {
    return finding.severity() == v1::NOTICE;
  });
  return well ? kExitDone : kExitFailed;
}

}  // namespace postern
