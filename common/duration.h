// Durations as people write them.

#ifndef POSTERN_COMMON_DURATION_H_
#define POSTERN_COMMON_DURATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace postern {

// Accepts "90s", "15m", "3h", "7d", sums of these in falling order ("1h30m"),
// and ISO 8601 durations of days and smaller ("PT3H", "P1DT12H"). No sign, no
// fraction, no months or years; at most 10 years. Zero is accepted: whether it
// makes sense is the caller's to say.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// The shortest form that ParseDuration reads back, to the second, rounded down:
// "1h30m", "45s", "0s".
std::string DurationText(absl::Duration duration);

}  // namespace postern

#endif  // POSTERN_COMMON_DURATION_H_
