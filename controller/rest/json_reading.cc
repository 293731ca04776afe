#include "controller/rest/json_reading.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

constexpr int kMostLevels = 32;
constexpr size_t kMaxPrefixBytes = 64;

bool IsJson(absl::string_view content_type) {
  const absl::string_view type =
      absl::StripAsciiWhitespace(content_type.substr(0, content_type.find(';')));
  return absl::EqualsIgnoreCase(type, "application/json");
}

// Follows the parser and remembers the first thing that is not accepted.
class Strictness {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (depth > kMostLevels) problem_ = "has too many levels";
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key && !keys_.empty() &&
        !keys_.back().insert(parsed.get<std::string>()).second) {
      problem_ = "has a key twice";
    }
    return problem_.empty();
  }
  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

}  // namespace

absl::Status WrongContent(absl::string_view message, const std::string& target) {
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidRequestContent", message, target);
}

absl::StatusOr<Json> ReadBody(const HttpRequest& request) {
  if (!IsJson(request.Header("content-type"))) {
    return WrongContent("the body wants Content-Type: application/json", "Content-Type");
  }
  if (!IsUtf8(request.body)) return WrongContent("the body is not UTF-8", "");
  Strictness strictness;
  Json body = Json::parse(request.body, std::ref(strictness), /*allow_exceptions=*/false);
  if (!strictness.problem().empty()) {
    return WrongContent(absl::StrCat("the body ", strictness.problem()), "");
  }
  if (body.is_discarded()) return WrongContent("the body is not JSON", "");
  if (!body.is_object()) return WrongContent("the body is not a JSON object", "");
  return body;
}

std::string NameIn(const std::string& at, absl::string_view name) {
  return at.empty() ? std::string(name) : absl::StrCat(at, ".", name);
}

absl::Status CheckMembers(const Json& object, std::initializer_list<absl::string_view> known,
                          const std::string& at) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return WrongContent(
        absl::StrCat("\"", Printable(name), "\" is not known there; ", absl::StrJoin(known, ", "),
                     known.size() == 1 ? " is" : " are"),
        NameIn(at, name));
  }
  return absl::OkStatus();
}

const Json* FindMember(const Json& object, absl::string_view name) {
  const auto found = object.find(std::string(name));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<const Json*> NeedObject(const Json& object, absl::string_view name,
                                       const std::string& at) {
  const Json* member = FindMember(object, name);
  if (member == nullptr || !member->is_object()) {
    return WrongContent(absl::StrCat("\"", name, "\" is missing or no object"), NameIn(at, name));
  }
  return member;
}

absl::StatusOr<const Json*> FindList(const Json& object, absl::string_view name,
                                     const std::string& at, size_t most) {
  const Json* member = FindMember(object, name);
  if (member == nullptr) return nullptr;
  if (!member->is_array()) {
    return WrongContent(absl::StrCat("\"", name, "\" is no list"), NameIn(at, name));
  }
  if (member->size() > most) {
    return WrongContent(
        absl::StrCat("\"", name, "\" has ", member->size(), " items; the most is ", most),
        NameIn(at, name));
  }
  for (const Json& item : *member) {
    if (item.is_object() || item.is_string()) continue;
    return WrongContent(absl::StrCat("\"", name, "\" holds what is neither object nor text"),
                        NameIn(at, name));
  }
  return member;
}

absl::StatusOr<std::string> ReadText(const Json& object, absl::string_view name,
                                     const std::string& at, size_t most) {
  const Json* member = FindMember(object, name);
  if (member == nullptr) return std::string();
  if (!member->is_string()) {
    return WrongContent(absl::StrCat("\"", name, "\" is no text"), NameIn(at, name));
  }
  std::string text = member->get<std::string>();
  if (text.size() > most) {
    return WrongContent(
        absl::StrCat("\"", name, "\" has ", text.size(), " bytes; the most is ", most),
        NameIn(at, name));
  }
  return text;
}

absl::StatusOr<std::string> NeedText(const Json& object, absl::string_view name,
                                     const std::string& at, size_t most) {
  absl::StatusOr<std::string> text = ReadText(object, name, at, most);
  if (text.ok() && text->empty()) {
    return WrongContent(absl::StrCat("\"", name, "\" is missing"), NameIn(at, name));
  }
  return text;
}

absl::StatusOr<uint16_t> NeedPort(const Json& object, absl::string_view name,
                                  const std::string& at) {
  const Json* member = FindMember(object, name);
  uint32_t port = 0;
  bool good = false;
  if (member != nullptr && member->is_number_integer()) {
    good = *member >= 0 && *member <= 65535;
    if (good) port = member->get<uint32_t>();
  } else if (member != nullptr && member->is_string()) {
    const std::string text = member->get<std::string>();
    good = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos &&
           absl::SimpleAtoi(text, &port) && port <= 65535;
  }
  if (!good) {
    return WrongContent(absl::StrCat("\"", name,
                                     "\" is missing or no port; a port is a number "
                                     "from 1 to 65535"),
                        NameIn(at, name));
  }
  return static_cast<uint16_t>(port);
}

absl::StatusOr<std::optional<absl::Duration>> ReadIsoDuration(const Json& object,
                                                              absl::string_view name,
                                                              const std::string& at) {
  constexpr size_t kMaxBytes = 32;
  POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadText(object, name, at, kMaxBytes));
  if (text.empty()) return std::nullopt;
  const absl::StatusOr<absl::Duration> duration =
      text[0] == 'P' ? ParseDuration(text) : absl::InvalidArgumentError("no ISO 8601 duration");
  if (!duration.ok()) {
    return WrongContent(absl::StrCat("\"", name, "\" is \"", Printable(text),
                                     "\", which is no ISO 8601 duration such as PT3H"),
                        NameIn(at, name));
  }
  return *duration;
}

absl::StatusOr<std::optional<absl::Time>> ReadTime(const Json& object, absl::string_view name,
                                                   const std::string& at) {
  constexpr size_t kMaxBytes = 48;
  POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadText(object, name, at, kMaxBytes));
  if (text.empty()) return std::nullopt;
  absl::Time time;
  std::string error;
  // absl also reads "infinite-future".
  const bool good = absl::ascii_isdigit(static_cast<unsigned char>(text[0])) &&
                    absl::ParseTime(absl::RFC3339_full, text, &time, &error);
  if (!good) {
    return WrongContent(absl::StrCat("\"", name, "\" is \"", Printable(text),
                                     "\", which is no time such as 2026-03-01T12:00:00.000Z"),
                        NameIn(at, name));
  }
  return time;
}

absl::StatusOr<std::optional<Sources>> ReadSources(const Json& object, const std::string& at) {
  constexpr absl::string_view kOne = "allowedSourceAddressPrefix";
  constexpr absl::string_view kMany = "allowedSourceAddressPrefixes";
  POSTERN_ASSIGN_OR_RETURN(const std::string one, ReadText(object, kOne, at, kMaxPrefixBytes));
  POSTERN_ASSIGN_OR_RETURN(const Json* many, FindList(object, kMany, at, kMaxRuleSources));
  if (!one.empty() && many != nullptr) {
    return WrongContent(absl::StrCat("both ", kOne, " and ", kMany, " are given; give one"), at);
  }
  if (one.empty() && many == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  if (many == nullptr) {
    texts.push_back(one);
  } else {
    for (const Json& item : *many) texts.push_back(item.is_string() ? item.get<std::string>() : "");
    if (texts.empty()) return WrongContent("the list of sources is empty", NameIn(at, kMany));
  }
  Sources sources{.listed = many != nullptr};
  for (const std::string& text : texts) {
    if (text == "*" && texts.size() == 1) return sources;
    const absl::StatusOr<Prefix> prefix = Prefix::Parse(text);
    if (!prefix.ok()) {
      return WrongContent(prefix.status().message(), NameIn(at, many == nullptr ? kOne : kMany));
    }
    sources.prefixes.push_back(*prefix);
  }
  return sources;
}

}  // namespace postern::controller
