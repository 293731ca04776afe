#include "controller/store/audit.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/pki/digest.h"
#include "common/status.h"
#include "controller/store/columns.h"

namespace postern::controller {
namespace {

constexpr char kColumns[] =
    "number, time_us, operation, status, caller, target, correlation_id, detail, previous_hash, "
    "hash";

AuditRow AuditRowOf(const SqlRow& row) {
  return {.number = row.Int(0),
          .time = TimeOf(row, 1),
          .operation = row.Text(2),
          .status = row.Text(3),
          .caller = row.Text(4),
          .target = row.Text(5),
          .correlation_id = row.Text(6),
          .detail = row.Text(7),
          .previous_hash = row.Text(8),
          .hash = row.Text(9)};
}

std::vector<AuditRow> AuditRowsOf(const std::vector<SqlRow>& rows) {
  std::vector<AuditRow> result;
  result.reserve(rows.size());
  for (const SqlRow& row : rows) result.push_back(AuditRowOf(row));
  return result;
}

struct Chain {
  int64_t first_number = 1;
  std::string first_previous;
  int64_t last_number = 0;
  std::string last_hash;
};

absl::StatusOr<Chain> ReadChain(SqlTransaction& transaction) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT first_number, first_previous, last_number, last_hash "
                        "FROM audit_chain WHERE id = 1",
                        {}));
  if (rows.empty()) return absl::DataLossError("the audit's chain has no beginning");
  return Chain{.first_number = rows[0].Int(0),
               .first_previous = rows[0].Text(1),
               .last_number = rows[0].Int(2),
               .last_hash = rows[0].Text(3)};
}

// Each field with its length before it: no two rows have the same text.
void AppendField(std::string& text, absl::string_view field) {
  absl::StrAppend(&text, field.size(), ":", field);
}

absl::Status Broken(int64_t number, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the audit's row ", number, " ", what));
}

}  // namespace

std::string HashOf(const AuditRow& row) {
  std::string text;
  AppendField(text, row.previous_hash);
  AppendField(text, absl::StrCat(row.number));
  AppendField(text, absl::StrCat(absl::ToUnixMicros(row.time)));
  for (const std::string* field :
       {&row.operation, &row.status, &row.caller, &row.target, &row.correlation_id, &row.detail}) {
    AppendField(text, *field);
  }
  return Sha256Hex(text);
}

absl::Status AppendAudit(SqlTransaction& transaction, AuditRow row) {
  POSTERN_ASSIGN_OR_RETURN(Chain chain, ReadChain(transaction));
  row.number = chain.last_number + 1;
  row.previous_hash = chain.last_hash;
  row.hash = HashOf(row);
  POSTERN_RETURN_IF_ERROR(
      transaction
          .Execute("INSERT INTO audit (number, time_us, operation, status, caller, target, "
                   "target_key, correlation_id, detail, previous_hash, hash) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                   {row.number, TimeValue(row.time), row.operation, row.status, row.caller,
                    row.target, absl::AsciiStrToLower(row.target), row.correlation_id, row.detail,
                    row.previous_hash, row.hash})
          .status());
  return transaction
      .Execute("UPDATE audit_chain SET last_number = $1, last_hash = $2 WHERE id = 1",
               {row.number, row.hash})
      .status();
}

absl::StatusOr<int64_t> NextAuditNumber(SqlTransaction& transaction) {
  POSTERN_ASSIGN_OR_RETURN(const Chain chain, ReadChain(transaction));
  return chain.last_number + 1;
}

absl::StatusOr<std::vector<AuditRow>> ListAudit(SqlTransaction& transaction,
                                                const AuditQuery& query, size_t limit) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(
          absl::StrCat("SELECT ", kColumns,
                       " FROM audit WHERE number > $1 AND time_us >= $2 AND time_us < $3 "
                       "AND ($4 = '' OR caller = $4) AND ($5 = '' OR operation = $5) "
                       "AND substr(target_key, 1, length($6)) = $6 ORDER BY number LIMIT $7"),
          {query.after, TimeValue(query.since.value_or(absl::UnixEpoch())),
           TimeValue(query.until.value_or(absl::InfiniteFuture())), query.caller, query.operation,
           absl::AsciiStrToLower(query.target), static_cast<int64_t>(limit)}));
  return AuditRowsOf(rows);
}

absl::Status VerifyAudit(SqlTransaction& transaction, size_t limit, AuditCheck& check) {
  POSTERN_ASSIGN_OR_RETURN(const Chain chain, ReadChain(transaction));
  if (check.next_number < chain.first_number) {
    check = {.next_number = chain.first_number, .hash = chain.first_previous};
  }
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT ", kColumns,
                                     " FROM audit WHERE number >= $1 ORDER BY number LIMIT $2"),
                        {check.next_number, static_cast<int64_t>(limit)}));
  for (const AuditRow& row : AuditRowsOf(rows)) {
    if (row.number != check.next_number) return Broken(check.next_number, "is missing");
    if (row.previous_hash != check.hash) {
      return Broken(row.number, "does not follow from the one before");
    }
    if (HashOf(row) != row.hash) return Broken(row.number, "has been changed");
    check.hash = row.hash;
    ++check.next_number;
  }
  if (rows.size() == limit) return absl::OkStatus();
  if (check.next_number != chain.last_number + 1) return Broken(check.next_number, "is missing");
  if (check.hash != chain.last_hash) {
    return Broken(chain.last_number, "is not the one that was written last");
  }
  check.done = true;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> TrimAudit(SqlTransaction& transaction, absl::Time before, size_t limit) {
  POSTERN_ASSIGN_OR_RETURN(const Chain chain, ReadChain(transaction));
  // The chain keeps at least its last row, and rows are taken from its beginning
  // only, whatever a clock that was set back has written.
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT number, previous_hash, time_us FROM audit "
                        "WHERE number >= $1 ORDER BY number LIMIT $2",
                        {chain.first_number, static_cast<int64_t>(limit) + 1}));
  size_t kept = 0;
  while (kept + 1 < rows.size() && TimeOf(rows[kept], 2) < before) ++kept;
  if (kept == 0) return 0;
  POSTERN_RETURN_IF_ERROR(
      transaction.Execute("DELETE FROM audit WHERE number < $1", {rows[kept].Int(0)}).status());
  POSTERN_RETURN_IF_ERROR(
      transaction
          .Execute("UPDATE audit_chain SET first_number = $1, first_previous = $2 WHERE id = 1",
                   {rows[kept].Int(0), rows[kept].Text(1)})
          .status());
  return static_cast<int64_t>(kept);
}

}  // namespace postern::controller
