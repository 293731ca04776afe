#include "controller/store/postgres_connection.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace postern::controller {

// What `conninfo` says goes before what stands here.
PostgresConnection ConnectToPostgres(const std::string& conninfo) {
  constexpr std::array<const char*, 4> kNames = {"connect_timeout", "fallback_application_name",
                                                 "dbname", nullptr};
  const std::array<const char*, 4> values = {"5", "postern-controller", conninfo.c_str(), nullptr};
  PostgresConnection connection(
      PQconnectdbParams(kNames.data(), values.data(), /*expand_dbname=*/1));
  // What it has to say comes as errors.
  PQsetNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

absl::Status ConnectionProblem(const PostgresConnection& connection) {
  const absl::string_view message = absl::NullSafeStringView(PQerrorMessage(connection.get()));
  return absl::UnavailableError(
      absl::StrCat("PostgreSQL cannot be reached: ", absl::StripTrailingAsciiWhitespace(message)));
}

}  // namespace postern::controller
