// What a request's target names. Pure.

#ifndef POSTERN_CONTROLLER_REST_PATH_H_
#define POSTERN_CONTROLLER_REST_PATH_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern::controller {

struct Target {
  // The path, split at its slashes first and then percent-decoded: a segment may
  // hold a slash.
  std::vector<std::string> segments = {};
  // By names in lower case, decoded; of a name that comes twice, the first.
  std::map<std::string, std::string> query = {};

  // "" where there is none. `name` in lower case.
  std::string Query(const std::string& name) const;
};

// INVALID_ARGUMENT for what is no path, has an escape that is none, or a control
// character in it.
absl::StatusOr<Target> ParseTarget(absl::string_view target);

// What stands in the places of "{}" when `segments` match `pattern`, such as
// "/subscriptions/{}/providers/Microsoft.Security", without case; nothing when
// they do not.
std::optional<std::vector<std::string>> Match(absl::string_view pattern,
                                              const std::vector<std::string>& segments);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_PATH_H_
