#include "agent/store/schema.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {
namespace {

// PRAGMA user_version says which of the schemas a ledger has, from 1.
constexpr char kFirstSchema[] = R"sql(
CREATE TABLE grants (
  sequence       INTEGER PRIMARY KEY,
  id             TEXT NOT NULL UNIQUE,
  sources        TEXT NOT NULL,
  ports          TEXT NOT NULL,
  duration_ns    INTEGER NOT NULL,
  not_after_ns   INTEGER,
  requestor      TEXT NOT NULL,
  justification  TEXT NOT NULL,
  on_expiry      INTEGER NOT NULL,
  created_by     TEXT NOT NULL,
  fingerprint    TEXT NOT NULL,
  state          INTEGER NOT NULL,
  start_ns       INTEGER NOT NULL,
  end_ns         INTEGER NOT NULL,
  deadline_ns    INTEGER NOT NULL,
  boot_id        TEXT NOT NULL,
  end_cause      TEXT NOT NULL,
  packets        INTEGER NOT NULL,
  bytes          INTEGER NOT NULL,
  first_used_ns  INTEGER,
  last_used_ns   INTEGER
) STRICT;
CREATE INDEX live_grants ON grants (sequence) WHERE state = 0;
CREATE TABLE audit (
  number     INTEGER PRIMARY KEY,
  time_ns    INTEGER NOT NULL,
  kind       INTEGER NOT NULL,
  actor      TEXT NOT NULL,
  grant_id   TEXT NOT NULL,
  requestor  TEXT NOT NULL,
  sources    TEXT NOT NULL,
  ports      TEXT NOT NULL,
  end_ns     INTEGER,
  detail     TEXT NOT NULL
) STRICT;
)sql";

constexpr char kStandingOrders[] = R"sql(
ALTER TABLE grants ADD COLUMN clock_skew_ns INTEGER;
CREATE TABLE standing (
  id                   INTEGER PRIMARY KEY CHECK (id = 1),
  seen_ns              INTEGER,
  lockdown_since_ns    INTEGER,
  lockdown_actor       TEXT NOT NULL DEFAULT '',
  lockdown_reason      TEXT NOT NULL DEFAULT '',
  armed_since_ns       INTEGER,
  armed_actor          TEXT NOT NULL DEFAULT '',
  confirm_by_ns        INTEGER,
  confirm_deadline_ns  INTEGER NOT NULL DEFAULT 0,
  confirm_boot_id      TEXT NOT NULL DEFAULT '',
  confirm_within_ns    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO standing (id) VALUES (1);
)sql";

constexpr char kPendingSessions[] = R"sql(
ALTER TABLE grants ADD COLUMN sessions_pending INTEGER NOT NULL DEFAULT 0;
CREATE INDEX pending_sessions ON grants (sequence) WHERE sessions_pending = 1;
CREATE INDEX audit_times ON audit (time_ns);
)sql";

constexpr char kEarlierSources[] = R"sql(
ALTER TABLE grants ADD COLUMN earlier_sources TEXT NOT NULL DEFAULT '';
)sql";

constexpr char kBootClock[] = R"sql(
ALTER TABLE standing ADD COLUMN clock_boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE standing ADD COLUMN clock_began_ns INTEGER;
)sql";

// Each brings a ledger from the version that is its position to the next.
constexpr const char* kMigrations[] = {kFirstSchema, kStandingOrders, kPendingSessions,
                                       kEarlierSources, kBootClock};
constexpr int64_t kSchemaVersion = std::size(kMigrations);

}  // namespace

absl::StatusOr<int64_t> SchemaVersion(SqliteDatabase& database, const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement query, database.Prepare("PRAGMA user_version"));
  POSTERN_ASSIGN_OR_RETURN(const bool has_version, query.Step());
  const int64_t version = has_version ? query.Int(0) : 0;
  if (version <= kSchemaVersion) return version;
  return absl::FailedPreconditionError(
      absl::StrCat(path, " has schema version ", version, "; this posternd knows versions up to ",
                   kSchemaVersion, ". Install the posternd that wrote it, or a newer one"));
}

absl::Status Migrate(SqliteDatabase& database, const std::string& path, int64_t version) {
  for (int64_t next = version; next < kSchemaVersion; ++next) {
    POSTERN_RETURN_IF_ERROR(
        Annotate(database.Execute(absl::StrCat("BEGIN IMMEDIATE;", kMigrations[next],
                                               "PRAGMA user_version = ", next + 1, ";COMMIT;")),
                 absl::StrCat("giving ", path, " the schema of version ", next + 1)));
  }
  return absl::OkStatus();
}

}  // namespace postern
