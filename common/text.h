// Text that came from outside, made safe to show or to pass on.

#ifndef POSTERN_COMMON_TEXT_H_
#define POSTERN_COMMON_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace postern {

// `text` with control characters (C0, DEL, and C1 in UTF-8), the Unicode
// direction overrides and bytes that are not UTF-8 written as \xNN or \u{NNNN},
// so that printing it can neither steer a terminal nor forge a line of a log.
std::string Printable(absl::string_view text);

// True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong
// forms).
bool IsUtf8(absl::string_view text);

// `text` as a part of a URI that is a value, all of it but letters, digits and
// "-._~" as %XX (RFC 3986, 2.1).
std::string PercentEncoded(absl::string_view text);

}  // namespace postern

#endif  // POSTERN_COMMON_TEXT_H_
