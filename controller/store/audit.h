// The audit: append-only, each row chained to the one before by its hash, so
// that a row which is changed, taken out or put elsewhere is found.

#ifndef POSTERN_CONTROLLER_STORE_AUDIT_H_
#define POSTERN_CONTROLLER_STORE_AUDIT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/store/database.h"

namespace postern::controller {

struct AuditRow {
  // From 1, without gaps.
  int64_t number = 0;
  absl::Time time = {};
  // As Azure's Activity Log has it: "Microsoft.Security/.../initiate/action".
  std::string operation = {};
  // "Succeeded", "Failed", "Denied".
  std::string status = {};
  std::string caller = {};
  // A resource id, or what else it was about.
  std::string target = {};
  std::string correlation_id = {};
  // What happened, as one JSON object.
  std::string detail = {};
  // SHA-256 in hexadecimal: of the row before ("" for the first), and of this
  // row together with that.
  std::string previous_hash = {};
  std::string hash = {};
};

// What a row's hash has to be.
std::string HashOf(const AuditRow& row);

// Appends `row`; its number and hashes are set here. Within Database::Write,
// which lets nobody else append meanwhile.
absl::Status AppendAudit(SqlTransaction& transaction, AuditRow row);

// The number that the next row gets, within Database::Write.
absl::StatusOr<int64_t> NextAuditNumber(SqlTransaction& transaction);

struct AuditQuery {
  std::optional<absl::Time> since = {};
  std::optional<absl::Time> until = {};
  // Empty fields match everything.
  std::string caller = {};
  std::string operation = {};
  // The target, or what it starts with; without case.
  std::string target = {};
  // Rows after this number.
  int64_t after = 0;
};

// In order, at most `limit`.
absl::StatusOr<std::vector<AuditRow>> ListAudit(SqlTransaction& transaction,
                                                const AuditQuery& query, size_t limit);

// Where the check of a chain has come to.
struct AuditCheck {
  int64_t next_number = 0;
  std::string hash = {};
  bool done = false;
};

// Checks the next rows, at most `limit`, from where `check` stands; a new one
// starts at the beginning. DATA_LOSS naming the first row that is changed,
// missing or out of order.
absl::Status VerifyAudit(SqlTransaction& transaction, size_t limit, AuditCheck& check);

// Takes out rows from before `before`, at most `limit`, and records where the
// chain begins now. Gives how many.
absl::StatusOr<int64_t> TrimAudit(SqlTransaction& transaction, absl::Time before, size_t limit);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_AUDIT_H_
