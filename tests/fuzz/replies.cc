// An agent's answers as posternctl shows them: an agent that has been taken over
// must not reach the terminal of the person who looks at it. The first byte says
// which message the others are, and how wide the terminal is.

#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "cli/csv.h"
#include "cli/describe.h"
#include "cli/output.h"
#include "cli/self.h"
#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

// Lines that steer no terminal.
void CheckShown(const std::string& text) {
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      FUZZ_CHECK(Printable(line) == line);
      line.clear();
    } else {
      line += c;
    }
  }
  FUZZ_CHECK(Printable(line) == line);
}

template <typename Message>
void CheckMachineForms(const Message& message) {
  const absl::StatusOr<std::string> json = ToJson(message);
  const absl::StatusOr<std::string> line = ToJsonLine(message);
  FUZZ_CHECK(json.ok() == line.ok());
  if (json.ok()) {
    CheckShown(*json);
    FUZZ_CHECK(line->find('\n') == std::string::npos);
    CheckShown(*line);
  } else {
    FUZZ_CHECK(Printable(json.status().message()) == json.status().message());
  }
  CheckShown(ToYaml(message));
}

// A record of the CSV is one line, whatever its fields hold.
void CheckCsv(const v1::AuditEvent& event) {
  std::string line = AuditCsvLine(event);
  FUZZ_CHECK(line.size() > 2 && line.substr(line.size() - 2) == "\r\n");
  line.resize(line.size() - 2);
  FUZZ_CHECK(Printable(line) == line);
}

template <typename Message, typename Describe>
void Check(absl::string_view bytes, Describe describe) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  CheckShown(describe(message));
  CheckMachineForms(message);
}

void CheckReply(uint8_t selector, absl::string_view bytes) {
  const Reader reader = {.zone = absl::UTCTimeZone(),
                         .now = absl::FromUnixSeconds(1'714'572'000),
                         .colour = false,
                         .width = selector / 8 * 4};
  switch (selector % 8) {
    case 0:
      Check<v1::Grant>(bytes, [&](const v1::Grant& grant) { return DescribeGrant(grant, reader); });
      break;
    case 1:
      Check<v1::ListGrantsResponse>(bytes, [&](const v1::ListGrantsResponse& list) {
        return DescribeGrants({list.grants().begin(), list.grants().end()}, reader);
      });
      break;
    case 2:
      Check<v1::GetStatusResponse>(bytes, [&](const v1::GetStatusResponse& status) {
        return DescribeStatus(status, reader);
      });
      break;
    case 3:
      Check<v1::CheckAccessResponse>(bytes, [&](const v1::CheckAccessResponse& check) {
        return DescribeCheck(check, reader);
      });
      break;
    case 4:
      Check<v1::ListDeniedResponse>(bytes, [&](const v1::ListDeniedResponse& denied) {
        return DescribeDenied(denied, reader);
      });
      break;
    case 5:
      Check<v1::SelfReport>(
          bytes, [&](const v1::SelfReport& report) { return DescribeSelf(report, reader); });
      break;
    default:
      Check<v1::AuditEvent>(bytes, [&](const v1::AuditEvent& event) {
        CheckCsv(event);
        return DescribeEvent(event, reader);
      });
  }
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  // Says "invalid UTF-8" on stderr each time.
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) postern::CheckReply(data[0], postern::AsText(data + 1, size - 1));
  return 0;
}
