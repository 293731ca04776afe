#include "common/duration.h"

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr int64_t kDay = int64_t{24} * 60 * 60;
constexpr int64_t kLongest = kDay * 365 * 10;

struct Unit {
  char letter;
  int64_t seconds;
};

constexpr Unit kUnits[] = {{'d', kDay}, {'h', 3600}, {'m', 60}, {'s', 1}};

// The seconds of `letter`, or 0 when it is no unit.
int64_t SecondsOf(char letter) {
  for (const Unit& unit : kUnits) {
    if (unit.letter == letter) return unit.seconds;
  }
  return 0;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

constexpr int64_t kMalformed = -1;
constexpr int64_t kTooLong = -2;

// Reads "1h30m": at least one part, each unit at most once and smaller than
// the one before, all between `largest` and `smallest`. Returns seconds,
// kMalformed or kTooLong.
int64_t ReadParts(absl::string_view text, int64_t largest, int64_t smallest) {
  int64_t total = 0;
  int64_t below = std::numeric_limits<int64_t>::max();
  bool too_long = false;
  if (text.empty()) return kMalformed;
  while (!text.empty()) {
    int64_t count = 0;
    size_t digits = 0;
    for (; digits < text.size() && IsDigit(text[digits]); ++digits) {
      count = count * 10 + (text[digits] - '0');
      if (count > kLongest) {
        count = kLongest;
        too_long = true;
      }
    }
    if (digits == 0 || digits == text.size()) return kMalformed;
    const int64_t unit = SecondsOf(text[digits]);
    if (unit == 0 || unit >= below || unit > largest || unit < smallest) return kMalformed;
    total += count * unit;
    too_long = too_long || total > kLongest;
    below = unit;
    text.remove_prefix(digits + 1);
  }
  return too_long ? kTooLong : total;
}

// Reads what follows the "P" of an ISO 8601 duration, in lower case.
int64_t ReadIso(absl::string_view text) {
  const size_t t = text.find('t');
  const absl::string_view date = text.substr(0, t);
  int64_t total = 0;
  if (!date.empty()) {
    total = ReadParts(date, kDay, kDay);
    if (total < 0) return total;
  }
  if (t == absl::string_view::npos) return date.empty() ? kMalformed : total;
  const int64_t time = ReadParts(text.substr(t + 1), 3600, 1);
  if (time < 0) return time;
  return total + time > kLongest ? kTooLong : total + time;
}

// "PT3H" as "pt3h", so that one reader serves both forms; "" when it has a
// lower-case letter, which ISO 8601 does not.
std::string LowerIso(absl::string_view text) {
  std::string lower;
  for (const char c : text) {
    if (c >= 'a' && c <= 'z') return "";
    lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return lower;
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  constexpr size_t kMaxText = 64;
  int64_t seconds = kMalformed;
  if (text.size() <= kMaxText) {
    const bool iso = !text.empty() && text[0] == 'P';
    seconds = iso ? ReadIso(LowerIso(text.substr(1))) : ReadParts(text, kDay, 1);
  }
  if (seconds >= 0) return absl::Seconds(seconds);

  const std::string shown = Printable(text.substr(0, kMaxText));
  if (seconds == kTooLong) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", shown, "\" is longer than 10 years (3650d)"));
  }
  const bool only_digits =
      !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
  return absl::InvalidArgumentError(absl::StrCat("\"", shown, "\" ",
                                                 only_digits ? "has no unit" : "is not a duration",
                                                 "; write 90s, 15m, 3h, 7d, 1h30m or PT3H"));
}

std::string DurationText(absl::Duration duration) {
  int64_t seconds = absl::ToInt64Seconds(absl::Floor(duration, absl::Seconds(1)));
  if (seconds <= 0) return "0s";
  std::string text;
  for (const Unit& unit : kUnits) {
    if (seconds < unit.seconds) continue;
    absl::StrAppend(&text, seconds / unit.seconds, std::string(1, unit.letter));
    seconds %= unit.seconds;
  }
  return text;
}

}  // namespace postern
