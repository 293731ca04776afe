// Reading values out of a YamlNode: each with its name, its bounds and an error
// that says how to mend it. Pure.

#ifndef POSTERN_COMMON_CONFIG_FIELDS_H_
#define POSTERN_COMMON_CONFIG_FIELDS_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/config/yaml.h"
#include "common/prefix.h"
#include "common/status.h"

namespace postern {

// A value and what it is called, such as "guard.ports". Borrows the node.
class Field {
 public:
  Field(const YamlNode& node, std::string name) : node_(&node), name_(std::move(name)) {}

  const YamlNode& node() const { return *node_; }
  const std::string& name() const { return name_; }

  // "FILE:LINE:COLUMN: NAME message".
  absl::Status Error(absl::string_view message) const {
    return node_->Error(absl::StrCat(name_, " ", message));
  }
  // The error for a value that is not `wanted`, for instance "a list".
  absl::Status WrongKind(absl::string_view wanted) const;

 private:
  const YamlNode* node_;
  std::string name_;
};

// The keys of one section of a configuration file.
struct SectionKeys {
  // "" for the file itself, "guard", "listen.tls".
  absl::string_view name;
  std::vector<absl::string_view> keys;
};

// Every key of a configuration file.
using ConfigKeys = std::vector<SectionKeys>;

// A mapping whose keys are all known.
class Section {
 public:
  // `name` is that of one of the sections in `known`. Refuses unknown keys,
  // suggesting the one that was probably meant.
  static absl::StatusOr<Section> Open(const Field& field, absl::string_view name,
                                      const ConfigKeys& known);

  // Puts the value of `key`, as `read` reads it, into `out`; leaves `out` as it is
  // where the key is absent. `read` takes a Field and gives a StatusOr.
  template <typename Read, typename T>
  absl::Status Optional(absl::string_view key, Read read, T& out) const {
    const YamlNode* node = field_.node().Find(key);
    if (node == nullptr) return absl::OkStatus();
    POSTERN_ASSIGN_OR_RETURN(out, read(Named(*node, key)));
    return absl::OkStatus();
  }

  // The same for a key that must be there; `meaning` says what it holds.
  template <typename Read, typename T>
  absl::Status Required(absl::string_view key, absl::string_view meaning, Read read, T& out) const {
    if (field_.node().Find(key) == nullptr) {
      return field_.Error(absl::StrCat("needs \"", key, "\": ", meaning));
    }
    return Optional(key, read, out);
  }

 private:
  explicit Section(Field field) : field_(std::move(field)) {}
  Field Named(const YamlNode& node, absl::string_view key) const;

  Field field_;
};

struct Choice {
  absl::string_view name;
  int value;
};

// A whole number, without quotes, sign or leading zero.
absl::StatusOr<uint32_t> ReadNumber(const Field& field, uint32_t least, uint32_t most);
// UTF-8 without control characters, not empty.
absl::StatusOr<std::string> ReadText(const Field& field, size_t max_bytes);
absl::StatusOr<int> ReadChoice(const Field& field, std::initializer_list<Choice> choices);
absl::StatusOr<uint16_t> ReadPort(const Field& field);
absl::StatusOr<Prefix> ReadPrefix(const Field& field);
absl::StatusOr<absl::Duration> ReadDuration(const Field& field, absl::Duration least,
                                            absl::Duration most);
// The name of a network interface, as the kernel takes it.
absl::StatusOr<std::string> ReadInterface(const Field& field);
// An absolute path; a relative one starts where its file stands.
absl::StatusOr<std::string> ReadPath(const Field& field);
// The same, but for a relative path whose credential the service manager gave:
// "tls/agent.key" is tls_agent.key in $CREDENTIALS_DIRECTORY.
absl::StatusOr<std::string> ReadCredentialPath(const Field& field);

// "HOST:PORT" taken apart, without the brackets of an IPv6 address.
struct HostPort {
  std::string host;
  uint16_t port = 0;
  // True when `host` stood in brackets.
  bool bracketed = false;
};
absl::StatusOr<HostPort> ReadHostPort(const Field& field);

// A list of `least` to `most` items, none of them twice.
template <typename Read>
auto ReadList(const Field& field, size_t least, size_t most, Read read)
    -> absl::StatusOr<std::vector<typename decltype(read(field))::value_type>> {
  using Item = typename decltype(read(field))::value_type;
  if (field.node().kind == YamlNode::Kind::kScalar) {
    return field.Error("wants a list; put the values in [ ]");
  }
  if (field.node().kind != YamlNode::Kind::kList) return field.WrongKind("a list");
  const std::vector<YamlNode>& nodes = field.node().items;
  if (nodes.size() < least) return field.Error("is empty; list at least one, or remove the key");
  if (nodes.size() > most) {
    return field.Error(absl::StrCat("lists ", nodes.size(), "; the most is ", most));
  }
  std::vector<Item> items;
  for (const YamlNode& node : nodes) {
    POSTERN_ASSIGN_OR_RETURN(Item item, read(Field(node, field.name())));
    if (std::find(items.begin(), items.end(), item) != items.end()) {
      return node.Error(absl::StrCat(field.name(), " lists this twice; remove one of them"));
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace postern

#endif  // POSTERN_COMMON_CONFIG_FIELDS_H_
