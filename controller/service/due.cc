#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/service/access_service.h"

namespace postern::controller {
namespace {

// Each is a transaction; the rest is due at once.
constexpr size_t kMostAtOnce = 100;

// The next one would fail in the same way.
bool IsTheStores(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

Caller Itself() { return {.principal = kController, .correlation_id = NewUuid()}; }

}  // namespace

absl::Status AccessService::EndPort(const DuePort& due) {
  return Decide(Itself(), "Postern/requests/expire", due.vm, [&](Change& change) -> absl::Status {
    // Another controller may have been first, or the request extended.
    POSTERN_ASSIGN_OR_RETURN(std::optional<PortRow> row,
                             FindPort(change.transaction, due.grant_id));
    const bool is_due = row && row->port.status != PortStatus::kRevoked && row->port.end &&
                        *row->port.end <= change.now;
    change.nothing_done = !is_due;
    if (!is_due) return absl::OkStatus();
    change.detail = {{"request", row->request_id},
                     {"requestor", row->requestor},
                     {"port", absl::StrCat(row->port.number)}};
    const bool applied = row->port.applied.has_value();
    return Close(change, row->port, applied ? EndReason::kExpired : EndReason::kNeverApplied,
                 applied ? "" : "the VM's agent did not have it before its end");
  });
}

absl::Status AccessService::EndLapsed(const std::string& id) {
  return Decide(Itself(), "Postern/requests/lapse", id, [&](Change& change) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(std::optional<Request> request, FindRequest(change.transaction, id));
    change.nothing_done = true;
    if (!request) return absl::OkStatus();
    change.detail = {{"requestor", request->requestor}};
    for (RequestedPort& port : request->ports) {
      if (port.status != PortStatus::kPending) continue;
      change.nothing_done = false;
      POSTERN_RETURN_IF_ERROR(
          Close(change, port, EndReason::kLapsed, "nobody approved it in time"));
    }
    return UpdateApprovals(change.transaction, *request, std::nullopt);
  });
}

absl::StatusOr<absl::Time> AccessService::EndWhatIsDue() {
  const absl::Time now = clock_.Read().wall;
  std::vector<DuePort> ports;
  std::vector<std::string> lapsed;
  std::optional<absl::Time> next;
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(ports, DuePorts(transaction, now, kMostAtOnce));
    POSTERN_ASSIGN_OR_RETURN(lapsed, LapsedRequests(transaction, now, kMostAtOnce));
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  // What is wrong with one keeps no other.
  absl::Status trouble;
  for (const DuePort& port : ports) {
    trouble.Update(Annotate(EndPort(port), absl::StrCat("the grant ", port.grant_id)));
    if (IsTheStores(trouble)) return trouble;
  }
  for (const std::string& id : lapsed) {
    trouble.Update(Annotate(EndLapsed(id), absl::StrCat("the request ", id)));
    if (IsTheStores(trouble)) return trouble;
  }
  POSTERN_RETURN_IF_ERROR(trouble);
  const absl::Status again = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(next, NextDue(transaction));
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(again);
  return next.value_or(absl::InfiniteFuture());
}

}  // namespace postern::controller
