#include "common/config/fields.h"

#include <net/if.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <limits>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/duration.h"
#include "common/text.h"

namespace postern {
namespace {

using Kind = YamlNode::Kind;

// Levenshtein's distance, a swap of two neighbours counted as one.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

// The name that was probably meant, or "".
absl::string_view Nearest(absl::string_view text, absl::Span<const absl::string_view> names) {
  constexpr size_t kLongestWorthComparing = 32;
  if (text.size() > kLongestWorthComparing) return "";
  absl::string_view nearest;
  size_t least = std::min<size_t>(3, text.size());
  for (const absl::string_view name : names) {
    const size_t distance = EditDistance(text, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

absl::string_view SectionOf(absl::string_view key, const ConfigKeys& known) {
  for (const SectionKeys& section : known) {
    if (std::find(section.keys.begin(), section.keys.end(), key) != section.keys.end()) {
      return section.name;
    }
  }
  return "";
}

absl::Status UnknownKey(const YamlNode& key, const SectionKeys& section, const ConfigKeys& known) {
  std::string message = absl::StrCat("unknown key ", Quoted(key.text));
  if (!section.name.empty()) absl::StrAppend(&message, " in ", section.name);
  const absl::string_view nearest = Nearest(key.text, section.keys);
  const absl::string_view elsewhere = SectionOf(key.text, known);
  if (!nearest.empty()) {
    absl::StrAppend(&message, "; did you mean \"", nearest, "\"?");
  } else if (!elsewhere.empty()) {
    absl::StrAppend(&message, "; it belongs in ", elsewhere);
  } else {
    absl::StrAppend(&message, "; known are ", absl::StrJoin(section.keys, ", "));
  }
  return key.Error(message);
}

absl::Status CheckScalar(const Field& field, absl::string_view wanted) {
  if (field.node().kind != Kind::kScalar) return field.WrongKind(wanted);
  return absl::OkStatus();
}

std::optional<uint32_t> PlainNumber(absl::string_view text) {
  uint32_t number = 0;
  const bool digits = !text.empty() &&
                      text.find_first_not_of("0123456789") == absl::string_view::npos &&
                      (text == "0" || text[0] != '0');
  if (!digits || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

}  // namespace

absl::Status Field::WrongKind(absl::string_view wanted) const {
  switch (node_->kind) {
    case Kind::kNull:
      return Error("has no value; write one or remove the key");
    case Kind::kList:
      return Error(absl::StrCat("wants ", wanted, ", not a list"));
    case Kind::kMapping:
      return Error(absl::StrCat("wants ", wanted, ", not a mapping"));
    case Kind::kScalar:
      break;
  }
  return Error(absl::StrCat("wants ", wanted, ", not ", Quoted(node_->text)));
}

absl::StatusOr<Section> Section::Open(const Field& field, absl::string_view name,
                                      const ConfigKeys& known) {
  if (field.node().kind != Kind::kMapping) return field.WrongKind("a mapping");
  for (const SectionKeys& section : known) {
    if (section.name != name) continue;
    for (const YamlNode& key : field.node().keys) {
      if (std::find(section.keys.begin(), section.keys.end(), key.text) == section.keys.end()) {
        return UnknownKey(key, section, known);
      }
    }
  }
  return Section(field);
}

Field Section::Named(const YamlNode& node, absl::string_view key) const {
  return Field(node,
               field_.name().empty() ? std::string(key) : absl::StrCat(field_.name(), ".", key));
}

absl::StatusOr<uint32_t> ReadNumber(const Field& field, uint32_t least, uint32_t most) {
  const std::string wanted = absl::StrCat("a number from ", least, " to ", most);
  POSTERN_RETURN_IF_ERROR(CheckScalar(field, wanted));
  if (field.node().quoted) {
    return field.Error(absl::StrCat("wants ", wanted, " without quotes"));
  }
  const std::optional<uint32_t> number = PlainNumber(field.node().text);
  if (!number.has_value() || *number < least || *number > most) return field.WrongKind(wanted);
  return *number;
}

absl::StatusOr<std::string> ReadText(const Field& field, size_t max_bytes) {
  POSTERN_RETURN_IF_ERROR(CheckScalar(field, "text"));
  const std::string& text = field.node().text;
  if (text.empty()) return field.Error("is empty; write a value or remove the key");
  if (text.size() > max_bytes) {
    return field.Error(absl::StrCat("has ", text.size(), " bytes; the most is ", max_bytes));
  }
  if (Printable(text) != text) {
    return field.Error(absl::StrCat("holds control characters: ", Quoted(text)));
  }
  return text;
}

absl::StatusOr<int> ReadChoice(const Field& field, std::initializer_list<Choice> choices) {
  std::vector<absl::string_view> names;
  for (const Choice& choice : choices) names.push_back(choice.name);
  const std::string wanted = absl::StrJoin(names, " or ");
  POSTERN_RETURN_IF_ERROR(CheckScalar(field, wanted));
  for (const Choice& choice : choices) {
    if (choice.name == field.node().text) return choice.value;
  }
  return field.WrongKind(wanted);
}

absl::StatusOr<uint16_t> ReadPort(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const uint32_t port,
                           ReadNumber(field, 1, std::numeric_limits<uint16_t>::max()));
  return static_cast<uint16_t>(port);
}

absl::StatusOr<Prefix> ReadPrefix(const Field& field) {
  POSTERN_RETURN_IF_ERROR(CheckScalar(field, "a prefix such as 192.0.2.0/24"));
  absl::StatusOr<Prefix> prefix = Prefix::Parse(field.node().text);
  if (!prefix.ok()) {
    return field.node().Error(absl::StrCat(field.name(), ": ", prefix.status().message()));
  }
  return prefix;
}

absl::StatusOr<absl::Duration> ReadDuration(const Field& field, absl::Duration least,
                                            absl::Duration most) {
  POSTERN_RETURN_IF_ERROR(CheckScalar(field, "a duration such as 3h"));
  const absl::StatusOr<absl::Duration> duration = ParseDuration(field.node().text);
  if (!duration.ok()) {
    return field.node().Error(absl::StrCat(field.name(), ": ", duration.status().message()));
  }
  if (*duration < least || *duration > most) {
    return field.WrongKind(
        absl::StrCat("a duration from ", DurationText(least), " to ", DurationText(most)));
  }
  return *duration;
}

absl::StatusOr<std::string> ReadInterface(const Field& field) {
  absl::StatusOr<std::string> name = ReadText(field, IFNAMSIZ - 1);
  if (!name.ok()) return name;
  // dev_valid_name() of the kernel; the quote would end the name in a rule.
  if (*name == "." || *name == ".." || name->find_first_of("/: \"") != std::string::npos) {
    return field.WrongKind("the name of an interface, such as eth1");
  }
  if (absl::StrContains(*name, '*')) {
    return field.WrongKind("the whole name of an interface, without a pattern");
  }
  return name;
}

absl::StatusOr<std::string> ReadPath(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(std::string path, ReadText(field, PATH_MAX - 1));
  if (path[0] == '/') return path;
  const std::string& directory = field.node().source->directory;
  return absl::StrCat(directory, directory == "/" ? "" : "/", path);
}

absl::StatusOr<std::string> ReadCredentialPath(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadText(field, PATH_MAX - 1));
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  if (text[0] != '/' && credentials != nullptr) {
    std::string path = absl::StrCat(credentials, "/", absl::StrReplaceAll(text, {{"/", "_"}}));
    if (access(path.c_str(), F_OK) == 0) return path;
  }
  return ReadPath(field);
}

absl::StatusOr<HostPort> ReadHostPort(const Field& field) {
  constexpr absl::string_view kWanted =
      "\"HOST:PORT\", in quotes, with an IPv6 address in brackets";
  constexpr size_t kMaxBytes = 253 + sizeof(":65535");
  POSTERN_RETURN_IF_ERROR(CheckScalar(field, kWanted));
  POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadText(field, kMaxBytes));
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return field.WrongKind(kWanted);
  const std::optional<uint32_t> port = PlainNumber(text.substr(colon + 1));
  if (!port.has_value() || *port == 0 || *port > std::numeric_limits<uint16_t>::max()) {
    return field.WrongKind("a port from 1 to 65535 after the last colon");
  }
  HostPort result{.host = text.substr(0, colon), .port = static_cast<uint16_t>(*port)};
  result.bracketed = result.host.front() == '[' && result.host.back() == ']';
  if (result.bracketed) result.host = result.host.substr(1, result.host.size() - 2);
  const bool is_ipv6 = result.host.find(':') != std::string::npos;
  if (is_ipv6 != result.bracketed) return field.WrongKind(kWanted);
  return result;
}

}  // namespace postern
