#include "agent/store/sqlite_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/store/codec.h"
#include "agent/store/schema.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kGrantColumns[] =
    "id, sequence, sources, ports, duration_ns, not_after_ns, requestor, justification, "
    "on_expiry, created_by, fingerprint, state, start_ns, end_ns, deadline_ns, boot_id, "
    "end_cause, packets, bytes, first_used_ns, last_used_ns, clock_skew_ns, sessions_pending, "
    "earlier_sources";
constexpr char kAuditColumns[] =
    "number, time_ns, kind, actor, grant_id, requestor, sources, ports, end_ns, detail";

// A number that stands for one of the values up to `last`.
template <typename Enum>
absl::StatusOr<Enum> DecodeEnum(int64_t number, Enum last, absl::string_view what) {
  if (number >= 0 && number <= static_cast<int64_t>(last)) return static_cast<Enum>(number);
  return absl::DataLossError(absl::StrCat(number, " is not ", what));
}

absl::StatusOr<Grant> ReadGrant(const SqliteStatement& row) {
  Grant grant;
  grant.id = row.Text(0);
  grant.sequence = row.Int(1);
  POSTERN_ASSIGN_OR_RETURN(grant.sources, DecodePrefixes(row.Text(2)));
  POSTERN_ASSIGN_OR_RETURN(grant.ports, DecodePorts(row.Text(3)));
  grant.duration = absl::Nanoseconds(row.Int(4));
  grant.not_after = DecodeTime(row.OptionalInt(5));
  grant.requestor = row.Text(6);
  grant.justification = row.Text(7);
  POSTERN_ASSIGN_OR_RETURN(
      grant.on_expiry, DecodeEnum(row.Int(8), OnExpiry::kReset, "what a grant does at its end"));
  grant.created_by = row.Text(9);
  grant.request_fingerprint = row.Text(10);
  POSTERN_ASSIGN_OR_RETURN(grant.state,
                           DecodeEnum(row.Int(11), GrantState::kSuperseded, "a state of a grant"));
  grant.start = DecodeTime(row.Int(12));
  grant.end = DecodeTime(row.Int(13));
  grant.deadline = BootTime(absl::Nanoseconds(row.Int(14)));
  grant.boot_id = row.Text(15);
  grant.end_cause = row.Text(16);
  grant.usage.packets = static_cast<uint64_t>(row.Int(17));
  grant.usage.bytes = static_cast<uint64_t>(row.Int(18));
  grant.usage.first_used = DecodeTime(row.OptionalInt(19));
  grant.usage.last_used = DecodeTime(row.OptionalInt(20));
  grant.clock_skew = DecodeDuration(row.OptionalInt(21));
  grant.sessions_pending = row.Int(22) != 0;
  POSTERN_ASSIGN_OR_RETURN(grant.earlier_sources, DecodePrefixes(row.Text(23)));
  return grant;
}

absl::StatusOr<AuditEvent> ReadEvent(const SqliteStatement& row) {
  AuditEvent event;
  event.number = static_cast<uint64_t>(row.Int(0));
  event.time = DecodeTime(row.Int(1));
  event.kind = static_cast<AuditKind>(row.Int(2));
  event.actor = row.Text(3);
  event.grant_id = row.Text(4);
  event.requestor = row.Text(5);
  POSTERN_ASSIGN_OR_RETURN(event.sources, DecodePrefixes(row.Text(6)));
  POSTERN_ASSIGN_OR_RETURN(event.ports, DecodePorts(row.Text(7)));
  event.end = DecodeTime(row.OptionalInt(8));
  event.detail = row.Text(9);
  return event;
}

// All rows of `statement`, whose parameters are bound.
template <typename Row, typename Read>
absl::StatusOr<std::vector<Row>> ReadAll(SqliteStatement& statement, Read read) {
  std::vector<Row> rows;
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const bool more, statement.Step());
    if (!more) return rows;
    absl::StatusOr<Row> row = read(statement);
    if (!row.ok()) {
      statement.Reset();
      return row.status();
    }
    rows.push_back(*std::move(row));
  }
}

// Damage that is found only when a grant is wanted would be found too late.
absl::Status CheckSound(SqliteDatabase& database, const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement check, database.Prepare("PRAGMA quick_check(1)"));
  POSTERN_ASSIGN_OR_RETURN(const bool answered, check.Step());
  const std::string answer = answered ? check.Text(0) : "no answer";
  check.Reset();
  if (answer == "ok") return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, " is damaged: ", answer));
}

int64_t Limit(size_t limit) { return static_cast<int64_t>(std::min<size_t>(limit, INT64_MAX)); }

}  // namespace

struct SqliteStore::Statements {
  SqliteStatement begin;
  SqliteStatement commit;
  SqliteStatement rollback;
  SqliteStatement put;
  SqliteStatement erase;
  SqliteStatement insert_event;
  SqliteStatement clear_pending;
  SqliteStatement find;
  SqliteStatement list_live;
  SqliteStatement list_all;
  SqliteStatement first_since;
  SqliteStatement list_audit;
  SqliteStatement put_standing;
  SqliteStatement put_seen;
  SqliteStatement put_clock;

  static absl::StatusOr<std::unique_ptr<Statements>> Prepare(SqliteDatabase& database);
};

absl::StatusOr<std::unique_ptr<SqliteStore::Statements>> SqliteStore::Statements::Prepare(
    SqliteDatabase& database) {
  const std::string select = absl::StrCat("SELECT ", kGrantColumns, " FROM grants ");
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement begin, database.Prepare("BEGIN IMMEDIATE"));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement commit, database.Prepare("COMMIT"));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement rollback, database.Prepare("ROLLBACK"));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement put,
      database.Prepare(absl::StrCat("INSERT OR REPLACE INTO grants (", kGrantColumns,
                                    ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement erase,
                           database.Prepare("DELETE FROM grants WHERE id = ?"));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement insert_event,
                           database.Prepare(absl::StrCat("INSERT INTO audit (", kAuditColumns,
                                                         ") VALUES (?,?,?,?,?,?,?,?,?,?)")));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement clear_pending,
                           database.Prepare("UPDATE grants SET sessions_pending = 0 WHERE id = ?"));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement find,
                           database.Prepare(absl::StrCat(select, "WHERE id = ?")));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement list_live,
      database.Prepare(
          absl::StrCat(select, "WHERE state = 0 AND sequence > ? ORDER BY sequence LIMIT ?")));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement list_all,
      database.Prepare(absl::StrCat(select, "WHERE sequence > ? ORDER BY sequence LIMIT ?")));
  // Of all that are not older, the one with the lowest number: the clock may have
  // been set back in between.
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement first_since,
      database.Prepare(
          "SELECT CASE WHEN (SELECT time_ns FROM audit ORDER BY number LIMIT 1) >= ? THEN 1 ELSE "
          "coalesce((SELECT min(number) FROM audit INDEXED BY audit_times WHERE time_ns >= ?), 0) "
          "END"));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement list_audit,
      database.Prepare(absl::StrCat("SELECT ", kAuditColumns,
                                    " FROM audit NOT INDEXED WHERE number > ? AND time_ns >= ? "
                                    "ORDER BY number LIMIT ?")));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement put_standing,
      database.Prepare("UPDATE standing SET lockdown_since_ns = ?, lockdown_actor = ?, "
                       "lockdown_reason = ?, armed_since_ns = ?, armed_actor = ?, "
                       "confirm_by_ns = ?, confirm_deadline_ns = ?, confirm_boot_id = ?, "
                       "confirm_within_ns = ?"));
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement put_seen,
                           database.Prepare("UPDATE standing SET seen_ns = ?"));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement put_clock,
      database.Prepare("UPDATE standing SET clock_boot_id = ?, clock_began_ns = ?"));
  return std::make_unique<Statements>(Statements{
      std::move(begin), std::move(commit), std::move(rollback), std::move(put), std::move(erase),
      std::move(insert_event), std::move(clear_pending), std::move(find), std::move(list_live),
      std::move(list_all), std::move(first_since), std::move(list_audit), std::move(put_standing),
      std::move(put_seen), std::move(put_clock)});
}

SqliteStore::SqliteStore(SqliteDatabase database, std::unique_ptr<Statements> statements)
    : database_(std::move(database)), statements_(std::move(statements)) {}

SqliteStore::~SqliteStore() = default;

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  // Another process that has the ledger open is a second daemon: refuse it. EXTRA is FULL, and
  // before the log is there also keeps a journal from coming back after it was deleted.
  for (const char* pragma :
       {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA synchronous = EXTRA",
        "PRAGMA journal_mode = WAL", "PRAGMA trusted_schema = OFF", "PRAGMA foreign_keys = ON"}) {
    POSTERN_RETURN_IF_ERROR(Annotate(database.Execute(pragma), path));
  }
  POSTERN_ASSIGN_OR_RETURN(const int64_t version, SchemaVersion(database, path));
  POSTERN_RETURN_IF_ERROR(CheckSound(database, path));
  POSTERN_RETURN_IF_ERROR(Migrate(database, path, version));
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Statements> statements, Statements::Prepare(database));
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(database), std::move(statements)));
}

absl::StatusOr<int64_t> SqliteStore::Number(const std::string& sql) {
  POSTERN_ASSIGN_OR_RETURN(SqliteStatement query, database_.Prepare(sql));
  POSTERN_ASSIGN_OR_RETURN(const bool row, query.Step());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<StoredState> SqliteStore::Load() {
  StoredState state;
  SqliteStatement& list = statements_->list_live;
  list.Bind(1, int64_t{0}).Bind(2, int64_t{INT64_MAX});
  POSTERN_ASSIGN_OR_RETURN(state.live, ReadAll<Grant>(list, ReadGrant));
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement pending,
      database_.Prepare(absl::StrCat("SELECT ", kGrantColumns,
                                     " FROM grants WHERE sessions_pending = 1 ORDER BY sequence")));
  POSTERN_ASSIGN_OR_RETURN(state.sessions_pending, ReadAll<Grant>(pending, ReadGrant));
  POSTERN_ASSIGN_OR_RETURN(state.last_sequence,
                           Number("SELECT coalesce(max(sequence), 0) FROM grants"));
  POSTERN_ASSIGN_OR_RETURN(const int64_t number,
                           Number("SELECT coalesce(max(number), 0) FROM audit"));
  state.last_audit_number = static_cast<uint64_t>(number);
  POSTERN_RETURN_IF_ERROR(LoadStanding(state));
  POSTERN_ASSIGN_OR_RETURN(
      const int64_t last_event,
      Number("SELECT coalesce((SELECT time_ns FROM audit ORDER BY number DESC LIMIT 1), 0)"));
  if (number > 0) {
    const absl::Time time = DecodeTime(last_event);
    state.last_seen = std::max(state.last_seen.value_or(time), time);
  }
  return state;
}

absl::Status SqliteStore::LoadStanding(StoredState& state) {
  POSTERN_ASSIGN_OR_RETURN(
      SqliteStatement row,
      database_.Prepare("SELECT seen_ns, lockdown_since_ns, lockdown_actor, lockdown_reason, "
                        "armed_since_ns, armed_actor, confirm_by_ns, confirm_deadline_ns, "
                        "confirm_boot_id, confirm_within_ns, clock_boot_id, clock_began_ns "
                        "FROM standing"));
  POSTERN_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return absl::DataLossError("the table of standing orders has no row");
  state.last_seen = DecodeTime(row.OptionalInt(0));
  if (const auto since = DecodeTime(row.OptionalInt(1))) {
    state.standing.lockdown = Lockdown{*since, row.Text(2), row.Text(3)};
  }
  if (const auto since = DecodeTime(row.OptionalInt(4))) {
    state.standing.armed = Armed{*since, row.Text(5), std::nullopt};
    if (const auto by = DecodeTime(row.OptionalInt(6))) {
      state.standing.armed->confirm_by = ConfirmBy{*by, BootTime(absl::Nanoseconds(row.Int(7))),
                                                   row.Text(8), absl::Nanoseconds(row.Int(9))};
    }
  }
  if (const auto began = DecodeTime(row.OptionalInt(11))) {
    state.clock = BootClock{.boot_id = row.Text(10), .began = *began};
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Commit(const std::vector<Write>& writes) {
  POSTERN_RETURN_IF_ERROR(statements_->begin.Run());
  absl::Status status;
  for (const Write& write : writes) {
    status = Apply(write);
    if (!status.ok()) break;
  }
  if (status.ok()) status = statements_->commit.Run();
  // SQLite rolls back by itself on some errors; then this one fails harmlessly.
  if (!status.ok()) statements_->rollback.Run().IgnoreError();
  return status;
}

absl::Status SqliteStore::Apply(const Write& write) {
  if (write.put) POSTERN_RETURN_IF_ERROR(Put(*write.put));
  if (write.erase) POSTERN_RETURN_IF_ERROR(statements_->erase.Bind(1, *write.erase).Run());
  if (write.audit) POSTERN_RETURN_IF_ERROR(Insert(*write.audit));
  for (const std::string& id : write.sessions_ended) {
    POSTERN_RETURN_IF_ERROR(statements_->clear_pending.Bind(1, id).Run());
  }
  if (write.standing) POSTERN_RETURN_IF_ERROR(Put(*write.standing));
  if (write.seen) {
    POSTERN_RETURN_IF_ERROR(statements_->put_seen.Bind(1, EncodeTime(*write.seen)).Run());
  }
  if (write.clock) {
    POSTERN_RETURN_IF_ERROR(statements_->put_clock.Bind(1, write.clock->boot_id)
                                .Bind(2, EncodeTime(write.clock->began))
                                .Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Put(const Standing& standing) {
  const Lockdown lockdown = standing.lockdown.value_or(Lockdown{});
  const Armed armed = standing.armed.value_or(Armed{});
  const ConfirmBy confirm = armed.confirm_by.value_or(ConfirmBy{});
  const auto time_if = [](bool present, absl::Time time) {
    return present ? std::make_optional(EncodeTime(time)) : std::nullopt;
  };
  return statements_->put_standing.Bind(1, time_if(standing.lockdown.has_value(), lockdown.since))
      .Bind(2, lockdown.actor)
      .Bind(3, lockdown.reason)
      .Bind(4, time_if(standing.armed.has_value(), armed.since))
      .Bind(5, armed.actor)
      .Bind(6, time_if(armed.confirm_by.has_value(), confirm.wall))
      .Bind(7, absl::ToInt64Nanoseconds(confirm.deadline.since_boot()))
      .Bind(8, confirm.boot_id)
      .Bind(9, absl::ToInt64Nanoseconds(confirm.within))
      .Run();
}

absl::Status SqliteStore::Put(const Grant& grant) {
  return statements_->put.Bind(1, grant.id)
      .Bind(2, grant.sequence)
      .Bind(3, EncodePrefixes(grant.sources))
      .Bind(4, EncodePorts(grant.ports))
      .Bind(5, absl::ToInt64Nanoseconds(grant.duration))
      .Bind(6, EncodeTime(grant.not_after))
      .Bind(7, grant.requestor)
      .Bind(8, grant.justification)
      .Bind(9, static_cast<int64_t>(grant.on_expiry))
      .Bind(10, grant.created_by)
      .Bind(11, grant.request_fingerprint)
      .Bind(12, static_cast<int64_t>(grant.state))
      .Bind(13, EncodeTime(grant.start))
      .Bind(14, EncodeTime(grant.end))
      .Bind(15, absl::ToInt64Nanoseconds(grant.deadline.since_boot()))
      .Bind(16, grant.boot_id)
      .Bind(17, grant.end_cause)
      .Bind(18, static_cast<int64_t>(grant.usage.packets))
      .Bind(19, static_cast<int64_t>(grant.usage.bytes))
      .Bind(20, EncodeTime(grant.usage.first_used))
      .Bind(21, EncodeTime(grant.usage.last_used))
      .Bind(22, EncodeDuration(grant.clock_skew))
      .Bind(23, static_cast<int64_t>(grant.sessions_pending))
      .Bind(24, EncodePrefixes(grant.earlier_sources))
      .Run();
}

absl::Status SqliteStore::Insert(const AuditEvent& event) {
  return statements_->insert_event.Bind(1, static_cast<int64_t>(event.number))
      .Bind(2, EncodeTime(event.time))
      .Bind(3, static_cast<int64_t>(event.kind))
      .Bind(4, event.actor)
      .Bind(5, event.grant_id)
      .Bind(6, event.requestor)
      .Bind(7, EncodePrefixes(event.sources))
      .Bind(8, EncodePorts(event.ports))
      .Bind(9, EncodeTime(event.end))
      .Bind(10, event.detail)
      .Run();
}

absl::StatusOr<std::optional<Grant>> SqliteStore::FindGrant(absl::string_view id) {
  SqliteStatement& find = statements_->find;
  find.Bind(1, id);
  POSTERN_ASSIGN_OR_RETURN(std::vector<Grant> found, ReadAll<Grant>(find, ReadGrant));
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

absl::StatusOr<std::vector<Grant>> SqliteStore::ListGrants(int64_t after, size_t limit,
                                                           bool include_ended) {
  SqliteStatement& list = include_ended ? statements_->list_all : statements_->list_live;
  list.Bind(1, after).Bind(2, Limit(limit));
  return ReadAll<Grant>(list, ReadGrant);
}

absl::StatusOr<std::vector<AuditEvent>> SqliteStore::ListAudit(uint64_t after, absl::Time since,
                                                               size_t limit) {
  if (after == 0) {
    // Not the whole of an old audit, row by row, for the events of today.
    SqliteStatement& first = statements_->first_since;
    first.Bind(1, EncodeTime(since)).Bind(2, EncodeTime(since));
    POSTERN_ASSIGN_OR_RETURN(const bool found, first.Step());
    const int64_t number = found ? first.Int(0) : 0;
    first.Reset();
    if (number == 0) return std::vector<AuditEvent>();
    after = static_cast<uint64_t>(number) - 1;
  }
  SqliteStatement& list = statements_->list_audit;
  // absl saturates times before 1677, which is what "from the beginning" needs.
  list.Bind(1, static_cast<int64_t>(std::min<uint64_t>(after, INT64_MAX)))
      .Bind(2, EncodeTime(since))
      .Bind(3, Limit(limit));
  return ReadAll<AuditEvent>(list, ReadEvent);
}

}  // namespace postern
