// Text made safe to print, and ids.

#include "common/text.h"

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "common/uuid.h"
#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

void CheckPrintable(absl::string_view text) {
  const std::string shown = Printable(text);
  FUZZ_CHECK(IsUtf8(shown));
  FUZZ_CHECK(Printable(shown) == shown);
  for (const char c : shown) FUZZ_CHECK(!absl::ascii_iscntrl(static_cast<unsigned char>(c)));
  // "\u{202e}" takes eight bytes for three, "\xff" four for one.
  FUZZ_CHECK(shown.size() <= 4 * text.size());
  if (shown == text) FUZZ_CHECK(IsUtf8(text));
}

void CheckUuid(absl::string_view text) {
  const absl::StatusOr<std::string> uuid = ParseUuid(text);
  if (!uuid.ok()) {
    FUZZ_CHECK(IsGoodMessage(uuid.status().message(), 512));
    return;
  }
  FUZZ_CHECK(*uuid == absl::AsciiStrToLower(text));
  const absl::StatusOr<std::string> again = ParseUuid(*uuid);
  FUZZ_CHECK(again.ok() && *again == *uuid);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::CheckPrintable(postern::AsText(data, size));
  postern::CheckUuid(postern::AsText(data, size));
  return 0;
}
