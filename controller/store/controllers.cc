#include "controller/store/controllers.h"

#include <vector>

#include "common/status.h"
#include "controller/store/columns.h"

namespace postern::controller {

absl::Status PutController(SqlTransaction& transaction, const std::string& id, absl::Time now) {
  return transaction
      .Execute(
          "INSERT INTO controllers (id, seen_us) VALUES ($1, $2) "
          "ON CONFLICT (id) DO UPDATE SET seen_us = $2",
          {id, TimeValue(now)})
      .status();
}

absl::StatusOr<std::set<std::string>> ControllersSince(SqlTransaction& transaction,
                                                       absl::Time since) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT id FROM controllers WHERE seen_us >= $1", {TimeValue(since)}));
  std::set<std::string> ids;
  for (const SqlRow& row : rows) ids.insert(row.Text(0));
  return ids;
}

absl::Status DeleteControllersBefore(SqlTransaction& transaction, absl::Time before) {
  return transaction.Execute("DELETE FROM controllers WHERE seen_us < $1", {TimeValue(before)})
      .status();
}

}  // namespace postern::controller
