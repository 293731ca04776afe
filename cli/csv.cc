#include "cli/csv.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "cli/forms.h"
#include "cli/proto_time.h"
#include "common/csv.h"

namespace postern {
namespace {

std::string Time(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", FromProto(time), absl::UTCTimeZone());
}

}  // namespace

std::string AuditCsvHeader() {
  return CsvLine({"number", "time", "kind", "actor", "grant_id", "requestor", "source_prefixes",
                  "ports", "end_time", "detail"});
}

std::string AuditCsvLine(const v1::AuditEvent& event) {
  const std::string ports = absl::StrJoin(
      event.ports(), " ",
      [](std::string* out, const v1::Port& port) { absl::StrAppend(out, FormatPort(port)); });
  return CsvLine({absl::StrCat(event.number()), Time(event.time()),
                  v1::AuditKind_Name(event.kind()), event.actor(), event.grant_id(),
                  event.requestor(), absl::StrJoin(event.source_prefixes(), " "), ports,
                  event.has_end_time() ? Time(event.end_time()) : "", event.detail()});
}

}  // namespace postern
