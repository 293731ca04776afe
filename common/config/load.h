// A configuration file and what is put over it.

#ifndef POSTERN_COMMON_CONFIG_LOAD_H_
#define POSTERN_COMMON_CONFIG_LOAD_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/config/yaml.h"

namespace postern {

// Reads `path` and puts over it, in the order of their names, the files
// `path`.d/*.yaml; a key in a later file replaces the same key of an earlier one,
// and lists are replaced whole. NOT_FOUND when `path` does not exist; otherwise
// INVALID_ARGUMENT with the place.
absl::StatusOr<YamlNode> LoadYamlWithDropIns(const std::string& path);

}  // namespace postern

#endif  // POSTERN_COMMON_CONFIG_LOAD_H_
