#include "cli/csv.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "cli/forms.h"
#include "cli/proto_time.h"
#include "common/text.h"

namespace postern {
namespace {

std::string Time(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", FromProto(time), absl::UTCTimeZone());
}

std::string Line(const std::vector<std::string>& fields) {
  return absl::StrCat(absl::StrJoin(fields, ",",
                                    [](std::string* out, const std::string& field) {
                                      absl::StrAppend(out, CsvField(field));
                                    }),
                      "\r\n");
}

}  // namespace

std::string CsvField(absl::string_view text) {
  constexpr absl::string_view kFormulaStarts = "=+-@\t\r";
  const bool formula = !text.empty() && kFormulaStarts.find(text[0]) != absl::string_view::npos;
  std::string field = absl::StrCat(formula ? "'" : "", Printable(text));
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  return absl::StrCat("\"", absl::StrReplaceAll(field, {{"\"", "\"\""}}), "\"");
}

std::string AuditCsvHeader() {
  return Line({"number", "time", "kind", "actor", "grant_id", "requestor", "source_prefixes",
               "ports", "end_time", "detail"});
}

std::string AuditCsvLine(const v1::AuditEvent& event) {
  const std::string ports = absl::StrJoin(
      event.ports(), " ",
      [](std::string* out, const v1::Port& port) { absl::StrAppend(out, FormatPort(port)); });
  return Line({absl::StrCat(event.number()), Time(event.time()), v1::AuditKind_Name(event.kind()),
               event.actor(), event.grant_id(), event.requestor(),
               absl::StrJoin(event.source_prefixes(), " "), ports,
               event.has_end_time() ? Time(event.end_time()) : "", event.detail()});
}

}  // namespace postern
