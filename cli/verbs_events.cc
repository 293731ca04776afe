// watch and audit.

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "cli/controller/verbs.h"
#include "cli/csv.h"
#include "cli/exit_code.h"
#include "cli/failure.h"
#include "cli/proto_time.h"
#include "cli/verbs.h"
#include "common/status.h"

namespace postern {
namespace {

// Writes one event and pushes it out, so that a reader at the other end of a
// pipe has it at once.
absl::Status PrintEvent(const v1::AuditEvent& event, Session& session) {
  if (session.format() == Format::kJson) {
    POSTERN_ASSIGN_OR_RETURN(const std::string json, ToJsonLine(event));
    session.out() << json << "\n";
  } else {
    const bool yaml = session.format() == Format::kYaml;
    if (yaml) session.out() << "---\n";
    POSTERN_RETURN_IF_ERROR(session.Print(event, DescribeEvent(event, session.reader())));
  }
  session.out().flush();
  return session.out().good() ? absl::OkStatus() : absl::AbortedError("stdout is closed");
}

class Watching {
 public:
  Watching(uint64_t after, Session& session) : after_(after), session_(session) {}

  int Run(int stop_fd) {
    const auto agent = session_.Connect();
    if (!agent.ok()) return session_.Fail(agent.status());
    for (;;) {
      const uint64_t before = after_;
      const absl::Status ended = WatchOnce(**agent, stop_fd);
      if (!printed_.ok()) return session_.Fail(printed_);
      if (ended.ok()) return kExitDone;
      // It fell behind. Once more from where it was, and again only if that
      // brought it forward.
      if (absl::IsAborted(ended) && (after_ > before || !resumed_)) {
        resumed_ = true;
        session_.Say(absl::StrCat("fell behind; resuming after event ", after_));
        continue;
      }
      const int exit_code = session_.Fail(ended);
      if (after_ > 0) {
        session_.Say(absl::StrCat("to go on from here: posternctl watch --after ", after_));
      }
      return exit_code;
    }
  }

 private:
  absl::Status WatchOnce(AgentClient& agent, int stop_fd) {
    v1::WatchEventsRequest request;
    request.set_after_number(after_);
    return agent.Watch(request, stop_fd, [this](const v1::AuditEvent& event) {
      after_ = event.number();
      printed_ = PrintEvent(event, session_);
      return printed_.ok();
    });
  }

  uint64_t after_;
  Session& session_;
  bool resumed_ = false;
  absl::Status printed_;
};

absl::Status PrintAudit(const std::vector<v1::AuditEvent>& events, Session& session) {
  if (session.format() == Format::kCsv) {
    session.out() << AuditCsvHeader();
    for (const v1::AuditEvent& event : events) session.out() << AuditCsvLine(event);
    return absl::OkStatus();
  }
  std::string words;
  std::vector<const google::protobuf::Message*> replies;
  for (const v1::AuditEvent& event : events) {
    replies.push_back(&event);
    if (session.format() == Format::kTable) {
      absl::StrAppend(&words, DescribeEvent(event, session.reader()));
    }
  }
  return session.PrintList("events", replies, words);
}

absl::StatusOr<std::vector<v1::AuditEvent>> ListAllEvents(const AuditCommand& command,
                                                          AgentClient& agent) {
  constexpr int kPageSize = 1000;
  std::vector<v1::AuditEvent> events;
  v1::ListAuditEventsRequest request;
  if (command.since) *request.mutable_since() = ToProto(*command.since);
  request.set_page_size(kPageSize);
  for (;;) {
    POSTERN_ASSIGN_OR_RETURN(v1::ListAuditEventsResponse page, agent.ListAudit(request));
    for (v1::AuditEvent& event : *page.mutable_events()) events.push_back(std::move(event));
    if (page.next_page_token().empty()) return events;
    if (page.next_page_token() == request.page_token()) {
      return absl::InternalError("the agent gives the same page of events again and again");
    }
    request.set_page_token(page.next_page_token());
  }
}

}  // namespace

int Do(const WatchCommand& command, Session& session) {
  int stop_fd = -1;
  if (session.environment().open_stop_fd) {
    const absl::StatusOr<int> opened = session.environment().open_stop_fd();
    if (!opened.ok()) return session.Fail(opened.status());
    stop_fd = *opened;
  }
  const int exit_code = Watching(command.after, session).Run(stop_fd);
  if (stop_fd >= 0) close(stop_fd);
  return exit_code;
}

int Do(const AuditCommand& command, Session& session) {
  if (session.invocation().controller) return ShowFleetAudit(command, session);
  const auto agent = session.Connect();
  if (!agent.ok()) return session.Fail(agent.status());
  const absl::StatusOr<std::vector<v1::AuditEvent>> events = ListAllEvents(command, **agent);
  if (!events.ok()) return session.Fail(events.status());
  const absl::Status printed = PrintAudit(*events, session);
  return printed.ok() ? kExitDone : session.Fail(printed);
}

}  // namespace postern
