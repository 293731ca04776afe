// The YAML that configuration needs, strictly: one document of mappings, lists
// and single-line values, each of which knows where it stands.

#ifndef POSTERN_COMMON_CONFIG_YAML_H_
#define POSTERN_COMMON_CONFIG_YAML_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern {

inline constexpr size_t kMaxConfigBytes = size_t{1} << 20;

// The file that text came from.
struct Source {
  // As messages show it.
  std::string name;
  // What relative paths in it are relative to.
  std::string directory;
};

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMapping };

  Kind kind = Kind::kNull;
  // A scalar's value.
  std::string text;
  bool quoted = false;
  // A list's items; a mapping's values, those of `keys` in the same order.
  std::vector<YamlNode> items;
  std::vector<YamlNode> keys;

  std::shared_ptr<const Source> source;
  // 1-based; the column counts bytes. A null has the place of its key.
  int line = 1;
  int column = 1;

  // The value of `key` in a mapping, or nullptr.
  const YamlNode* Find(absl::string_view key) const;
  // INVALID_ARGUMENT: "FILE:LINE:COLUMN: message".
  absl::Status Error(absl::string_view message) const;
};

// Reads one document. Text without content gives a null. Refuses what a person
// would not expect to be accepted: duplicate keys, aliases and anchors, tags,
// values over several lines, a quote that is never closed, tabs as indentation,
// text that is not UTF-8; and more depth, keys or values than any configuration
// has. The errors are INVALID_ARGUMENT with the place.
absl::StatusOr<YamlNode> ParseYaml(absl::string_view text,
                                   const std::shared_ptr<const Source>& source);

// Puts `over` over `base`: key by key where both are mappings, otherwise as a
// whole.
void Overlay(YamlNode over, YamlNode& base);

// `text` as a message shows it: printable, in double quotes, and shortened.
std::string Quoted(absl::string_view text);

}  // namespace postern

#endif  // POSTERN_COMMON_CONFIG_YAML_H_
