// Durations as people write them.

#include "common/duration.h"

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "tests/fuzz/fuzz.h"

namespace {

// Each unit once and in falling order: "1h1h" could be meant as either.
bool HasFallingUnits(absl::string_view text) {
  absl::string_view left = "dhms";
  for (const char c : text) {
    const char unit = absl::ascii_tolower(static_cast<unsigned char>(c));
    if (absl::ascii_isdigit(static_cast<unsigned char>(c)) || unit == 'p' || unit == 't') continue;
    const size_t at = left.find(unit);
    if (at == absl::string_view::npos) return false;
    left.remove_prefix(at + 1);
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text = postern::AsText(data, size);
  const absl::StatusOr<absl::Duration> duration = postern::ParseDuration(text);
  if (!duration.ok()) {
    FUZZ_CHECK(postern::IsGoodMessage(duration.status().message(), 512));
    return 0;
  }
  FUZZ_CHECK(HasFallingUnits(text));
  FUZZ_CHECK(*duration >= absl::ZeroDuration());
  FUZZ_CHECK(*duration <= absl::Hours(10 * 365 * 24));
  FUZZ_CHECK(*duration == absl::Trunc(*duration, absl::Seconds(1)));
  const absl::StatusOr<absl::Duration> again =
      postern::ParseDuration(postern::DurationText(*duration));
  FUZZ_CHECK(again.ok() && *again == *duration);
  return 0;
}
