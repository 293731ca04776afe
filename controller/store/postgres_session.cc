#include "controller/store/postgres_session.h"

#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern::controller {
namespace {

using std::chrono::steady_clock;

// Also for what may take as long as it does.
constexpr absl::Duration kLongest = absl::Hours(24);
// A statement has one result, and a connection that breaks one more.
constexpr int kMostResults = 8;
// What Kerberos' layer holds back does not show at the socket.
constexpr absl::Duration kGssLook = absl::Milliseconds(20);
// Signs of life are asked for after this long, and this often.
constexpr char kKeepaliveSeconds[] = "5";
constexpr char kKeepaliveCount[] = "3";

// What somebody has chosen for the role, the database or this connection stands; what
// holds for the whole server was not chosen for a program whose transactions wait for
// one another. Not by libpq's "options", which conninfo may have, too.
constexpr char kSettings[] =
    "SELECT set_config(name, wanted.value, false) FROM pg_settings JOIN (VALUES "
    "('lock_timeout', $1), ('statement_timeout', $2), "
    "('idle_in_transaction_session_timeout', $3), ('tcp_user_timeout', $4), "
    "('tcp_keepalives_idle', $5), ('tcp_keepalives_interval', $5), ('tcp_keepalives_count', $6)) "
    "AS wanted (name, value) USING (name) "
    "WHERE source NOT IN ('global', 'database', 'user', 'database user', 'client')";

std::string MillisecondsOf(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Milliseconds(duration));
}

steady_clock::time_point After(absl::Duration limit) {
  return steady_clock::now() + absl::ToChronoMilliseconds(std::min(limit, kLongest));
}

absl::string_view Trimmed(const char* message) {
  return absl::StripTrailingAsciiWhitespace(absl::NullSafeStringView(message));
}

// What happened to whom does not know the server's settings.
absl::string_view WordsOf(absl::string_view state, absl::string_view message) {
  if (state == "55P03") return "another transaction has kept the lock for too long";
  if (state == "57014") return "a statement took too long";
  if (state == "25P03") return "a transaction stood still for too long";
  return message;
}

// For an SQLSTATE (https://www.postgresql.org/docs/15/errcodes-appendix.html).
absl::Status ErrorOf(absl::string_view state, absl::string_view message) {
  const std::string text =
      absl::StrCat("PostgreSQL: ", WordsOf(state, message), " (SQLSTATE ", state, ")");
  if (state == "53100") return absl::ResourceExhaustedError(text);
  // Connection, rolled back for another's sake, resources, operator's intervention, a
  // lock that another has, a time that is over, a standby that is read-only.
  for (const char* kind : {"08", "40", "53", "57", "55P03", "25P03", "25006"}) {
    if (absl::StartsWith(state, kind)) return absl::UnavailableError(text);
  }
  return absl::InternalError(text);
}

bool IsDone(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

// As libpq takes them: text, null for NULL.
class Parameters {
 public:
  static absl::StatusOr<Parameters> Of(absl::Span<const SqlValue> values) {
    Parameters parameters;
    for (const SqlValue& value : values) {
      if (const auto* number = std::get_if<int64_t>(&value)) {
        parameters.texts_.emplace_back(absl::StrCat(*number));
      } else if (const auto* text = std::get_if<std::string>(&value)) {
        // PostgreSQL's text holds no NUL, and libpq would end it there in silence.
        if (absl::StrContains(*text, '\0')) {
          return absl::InvalidArgumentError("text with a NUL cannot be stored");
        }
        parameters.texts_.emplace_back(*text);
      } else {
        parameters.texts_.emplace_back(std::nullopt);
      }
    }
    return parameters;
  }

  std::vector<const char*> pointers() const {
    std::vector<const char*> pointers;
    for (const auto& text : texts_) pointers.push_back(text ? text->c_str() : nullptr);
    return pointers;
  }

 private:
  std::vector<std::optional<std::string>> texts_;
};

}  // namespace

PostgresSession::PostgresSession(const std::string& conninfo, const PostgresLimits& limits)
    : connection_(Connect(conninfo, limits)),
      pid_(PQbackendPID(connection_.get())),
      patience_(limits.silence) {
  if (!usable()) return;
  // What it has to say comes as errors.
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  PQsetnonblocking(connection_.get(), 1);
  const absl::Status configured = Configure(limits);
  if (!configured.ok()) GiveUp(configured.message()).IgnoreError();
}

// What `conninfo` says goes before what stands here.
PostgresSession::Connection PostgresSession::Connect(const std::string& conninfo,
                                                     const PostgresLimits& limits) {
  const std::string connect = absl::StrCat(absl::ToInt64Seconds(limits.connect));
  const std::string silence = MillisecondsOf(limits.silence);
  constexpr std::array<const char*, 8> kNames = {
      "connect_timeout",  "tcp_user_timeout",          "keepalives_idle", "keepalives_interval",
      "keepalives_count", "fallback_application_name", "dbname",          nullptr};
  const std::array<const char*, 8> values = {
      connect.c_str(), silence.c_str(),      kKeepaliveSeconds, kKeepaliveSeconds,
      kKeepaliveCount, "postern-controller", conninfo.c_str(),  nullptr};
  return Connection(PQconnectdbParams(kNames.data(), values.data(), /*expand_dbname=*/1));
}

absl::Status PostgresSession::Configure(const PostgresLimits& limits) {
  const std::vector<SqlValue> wanted = {MillisecondsOf(limits.lock),
                                        MillisecondsOf(limits.statement),
                                        MillisecondsOf(limits.idle_in_transaction),
                                        MillisecondsOf(limits.silence),
                                        std::string(kKeepaliveSeconds),
                                        std::string(kKeepaliveCount)};
  POSTERN_RETURN_IF_ERROR(Run(kSettings, wanted).status());
  POSTERN_ASSIGN_OR_RETURN(
      const PostgresResult result,
      Run("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'", {}));
  int64_t milliseconds = 0;
  if (PQntuples(result.get()) != 1 ||
      !absl::SimpleAtoi(PQgetvalue(result.get(), 0, 0), &milliseconds)) {
    return absl::InternalError("PostgreSQL does not tell its statement_timeout");
  }
  // The server ends it first, and keeps the connection.
  patience_ = milliseconds == 0 ? kLongest : absl::Milliseconds(milliseconds) + limits.silence;
  return absl::OkStatus();
}

bool PostgresSession::at_rest() const {
  return usable() && PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
}

absl::Status PostgresSession::Problem() const {
  if (!problem_.ok()) return problem_;
  return absl::UnavailableError(
      absl::StrCat("PostgreSQL cannot be reached: ", Trimmed(PQerrorMessage(connection_.get()))));
}

absl::Status PostgresSession::GiveUp(absl::string_view why) {
  connection_.reset();
  sqlstate_.clear();
  problem_ = absl::UnavailableError(why);
  return problem_;
}

absl::StatusOr<PostgresResult> PostgresSession::Run(absl::string_view sql,
                                                    absl::Span<const SqlValue> values,
                                                    std::optional<absl::Duration> limit) {
  sqlstate_.clear();
  if (!usable()) return Problem();
  POSTERN_ASSIGN_OR_RETURN(const Parameters parameters, Parameters::Of(values));
  const Deadline deadline = After(limit.value_or(patience_));
  if (PQsendQueryParams(connection_.get(), std::string(sql).c_str(),
                        static_cast<int>(values.size()), nullptr, parameters.pointers().data(),
                        nullptr, nullptr, 0) == 0) {
    return GiveUp(Problem().message());
  }
  POSTERN_ASSIGN_OR_RETURN(PostgresResult result, Answer(deadline));
  if (IsDone(result.get())) return result;
  const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  if (state == nullptr) return Problem();
  sqlstate_ = state;
  return ErrorOf(sqlstate_, Trimmed(PQresultErrorMessage(result.get())));
}

// All of it, so that the next statement can be sent. Of two errors the first says why.
absl::StatusOr<PostgresResult> PostgresSession::Answer(Deadline deadline) {
  PostgresResult answer;
  for (int results = 0; results < kMostResults; ++results) {
    if (!AwaitResult(deadline)) return GiveUp("PostgreSQL does not answer");
    PostgresResult result(PQgetResult(connection_.get()));
    if (result == nullptr) return answer;
    if (answer == nullptr || IsDone(answer.get())) answer = std::move(result);
  }
  return GiveUp("PostgreSQL answers without an end");
}

// False where none came in time. That the connection is broken is a result.
bool PostgresSession::AwaitResult(Deadline deadline) {
  while (PQisBusy(connection_.get()) != 0) {
    const bool unsent = PQflush(connection_.get()) > 0;
    if (!AwaitSocket(unsent ? POLLIN | POLLOUT : POLLIN, deadline)) return false;
    if (!TakeIn()) return true;
  }
  return true;
}

bool PostgresSession::AwaitSocket(short events, Deadline deadline) {
  // What TLS has read already does not show at the socket.
  auto* tls = static_cast<SSL*>(PQsslStruct(connection_.get(), "OpenSSL"));
  if (tls != nullptr && SSL_pending(tls) > 0) return true;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
  if (left <= 0) return false;
  const bool gss = PQgssEncInUse(connection_.get()) != 0;
  pollfd waiting{.fd = socket(), .events = events, .revents = 0};
  const int64_t time = gss ? std::min(left, absl::ToInt64Milliseconds(kGssLook)) : left;
  poll(&waiting, 1, static_cast<int>(time));
  return true;
}

std::optional<PostgresNotice> PostgresSession::NextNotice() {
  struct Free {
    void operator()(PGnotify* notice) const { PQfreemem(notice); }
  };
  const std::unique_ptr<PGnotify, Free> notice(PQnotifies(connection_.get()));
  if (notice == nullptr) return std::nullopt;
  return PostgresNotice{.pid = notice->be_pid, .text = notice->extra};
}

}  // namespace postern::controller
