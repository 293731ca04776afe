// The store in one SQLite file: write-ahead log, synchronous EXTRA, so that a
// commit that returned OK survives a crash and a power cut
// (https://www.sqlite.org/pragma.html#pragma_synchronous).

#ifndef POSTERN_AGENT_STORE_SQLITE_STORE_H_
#define POSTERN_AGENT_STORE_SQLITE_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "agent/store/store.h"
#include "common/sqlite/sqlite.h"

namespace postern {

class SqliteStore final : public Store {
 public:
  // Opens `path`, or creates it with an empty ledger. A database of a newer
  // schema than this program knows is refused with FAILED_PRECONDITION, a
  // damaged one with DATA_LOSS; neither is touched.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path);

  ~SqliteStore() override;

  absl::StatusOr<StoredState> Load() override;
  absl::Status Commit(const std::vector<Write>& writes) override;
  absl::StatusOr<std::optional<Grant>> FindGrant(absl::string_view id) override;
  absl::StatusOr<std::vector<Grant>> ListGrants(int64_t after, size_t limit,
                                                bool include_ended) override;
  absl::StatusOr<std::vector<AuditEvent>> ListAudit(uint64_t after, absl::Time since,
                                                    size_t limit) override;

 private:
  struct Statements;

  SqliteStore(SqliteDatabase database, std::unique_ptr<Statements> statements);
  absl::Status Apply(const Write& write);
  absl::Status Put(const Grant& grant);
  absl::Status Put(const Standing& standing);
  absl::Status LoadStanding(StoredState& state);
  absl::Status Insert(const AuditEvent& event);
  absl::StatusOr<int64_t> Number(const std::string& sql);

  SqliteDatabase database_;
  // Declared after the database: statements are finalised before it is closed.
  std::unique_ptr<Statements> statements_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_STORE_SQLITE_STORE_H_
