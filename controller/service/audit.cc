#include <string>
#include <vector>

#include "common/status.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"

namespace postern::controller {
namespace {

// Read in parts, so that nobody waits for the whole of a long audit.
constexpr size_t kRowsAtOnce = 1000;

}  // namespace

absl::StatusOr<std::vector<AuditRow>> AccessService::ReadAudit(const Caller& caller,
                                                               const AuditQuery& query,
                                                               size_t limit) {
  std::vector<AuditRow> rows;
  const auto body = [&](SqlTransaction& transaction) -> absl::Status {
    // A row is about many things; only who may read all of it may read it.
    POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kReadAudit, Scope{}));
    POSTERN_ASSIGN_OR_RETURN(rows, ListAudit(transaction, query, limit));
    return absl::OkStatus();
  };
  POSTERN_RETURN_IF_ERROR(Look(caller, ActionName(Action::kReadAudit), "", body));
  return rows;
}

absl::Status AccessService::VerifyAudit(const Caller& caller) {
  AuditCheck check;
  while (!check.done) {
    const auto body = [&](SqlTransaction& transaction) -> absl::Status {
      POSTERN_RETURN_IF_ERROR(Require(transaction, caller, Action::kReadAudit, Scope{}));
      return controller::VerifyAudit(transaction, kRowsAtOnce, check);
    };
    POSTERN_RETURN_IF_ERROR(Look(caller, ActionName(Action::kReadAudit), "", body));
  }
  return absl::OkStatus();
}

absl::Status AccessService::TrimAudit(absl::Time before) {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    return controller::TrimAudit(transaction, before, kRowsAtOnce).status();
  });
}

}  // namespace postern::controller
