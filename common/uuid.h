// UUIDs, by libsystemd's sd-id128.

#ifndef POSTERN_COMMON_UUID_H_
#define POSTERN_COMMON_UUID_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern {

// A new random UUID (RFC 9562, version 4) in its 36-character form.
std::string NewUuid();

// Accepts the 36-character form in either case and returns it in lower case.
absl::StatusOr<std::string> ParseUuid(absl::string_view text);

}  // namespace postern

#endif  // POSTERN_COMMON_UUID_H_
