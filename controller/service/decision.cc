#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "controller/domain/error.h"
#include "controller/service/access_service.h"
#include "controller/service/authorization.h"

namespace postern::controller {
namespace {

AuditRow RowOf(const Caller& caller, absl::string_view operation, const std::string& target,
               absl::Time now) {
  return {.time = now,
          .operation = std::string(operation),
          .status = "Succeeded",
          .caller = caller.principal,
          .target = target,
          .correlation_id = caller.correlation_id};
}

// Other controllers may have the streams of these VMs.
absl::Status HintAt(SqlTransaction& transaction, const std::set<std::string>& vms) {
  constexpr size_t kMostNamed = 100;
  if (vms.size() > kMostNamed) return transaction.Hint("");
  for (const std::string& vm : vms) POSTERN_RETURN_IF_ERROR(transaction.Hint(vm));
  return absl::OkStatus();
}

}  // namespace

AccessService::AccessService(Database& database, const Clock& clock,
                             std::function<void(const std::vector<std::string>&)> changed)
    : database_(database), clock_(clock), changed_(std::move(changed)) {}

absl::Status AccessService::Decide(const Caller& caller, absl::string_view operation,
                                   const std::string& target, const ChangeBody& body) {
  std::set<std::string> vms;
  const absl::Status status = database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    Change change{.transaction = transaction, .now = clock_.Read().wall};
    POSTERN_RETURN_IF_ERROR(body(change));
    vms = std::move(change.vms);
    POSTERN_RETURN_IF_ERROR(HintAt(transaction, vms));
    if (change.nothing_done) return absl::OkStatus();
    if (caller.address) change.detail["address"] = caller.address->ToString();
    AuditRow row = RowOf(caller, operation, target, change.now);
    row.detail = DetailText(change.detail);
    return AppendAudit(transaction, std::move(row));
  });
  if (!status.ok()) {
    RecordFailure(caller, operation, target, status);
    return status;
  }
  if (!vms.empty()) changed_({vms.begin(), vms.end()});
  return absl::OkStatus();
}

absl::Status AccessService::CheckStore() {
  return database_.Read(
      [](SqlTransaction& transaction) { return transaction.Query("SELECT 1", {}).status(); });
}

absl::Status AccessService::Look(const Caller& caller, absl::string_view operation,
                                 const std::string& target, const Database::Body& body) {
  const absl::Status status = database_.Read(body);
  if (absl::IsPermissionDenied(status)) RecordFailure(caller, operation, target, status);
  return status;
}

void AccessService::RecordFailure(const Caller& caller, absl::string_view operation,
                                  const std::string& target, const absl::Status& status) {
  // A store that cannot be written takes no row about that either.
  if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) return;
  // What the controller does by itself it tries again and again; its journal says why.
  if (caller.principal == kController) return;
  AuditRow row = RowOf(caller, operation, target, clock_.Read().wall);
  row.status = absl::IsPermissionDenied(status) ? "Denied" : "Failed";
  AuditDetail detail = {{"error", std::string(status.message())}};
  if (caller.address) detail["address"] = caller.address->ToString();
  row.detail = DetailText(detail);
  database_
      .Write([&](SqlTransaction& transaction) -> absl::Status {
        return AppendAudit(transaction, row);
      })
      .IgnoreError();
}

}  // namespace postern::controller
