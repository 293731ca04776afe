#include "controller/rest/path.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxSegments = 32;
constexpr size_t kMaxParameters = 32;

absl::Status Wrong(absl::string_view message) {
  return CodedError(absl::StatusCode::kInvalidArgument, "InvalidRequestUri", message);
}

absl::StatusOr<std::string> Decoded(absl::string_view text, bool plus_is_space) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      decoded += ' ';
      continue;
    }
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    uint32_t byte = 0;
    if (i + 2 >= text.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) ||
        !absl::SimpleHexAtoi(text.substr(i + 1, 2), &byte)) {
      return Wrong("the address has a % without two hexadecimal digits after it");
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  if (Printable(decoded) != decoded) {
    return Wrong("the address holds control characters or bytes that are not UTF-8");
  }
  return decoded;
}

absl::StatusOr<std::map<std::string, std::string>> ParseQuery(absl::string_view text) {
  std::map<std::string, std::string> query;
  if (text.empty()) return query;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '&');
  if (parts.size() > kMaxParameters) return Wrong("the address has too many parameters");
  for (const absl::string_view part : parts) {
    if (part.empty()) continue;
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    POSTERN_ASSIGN_OR_RETURN(const std::string name, Decoded(pair.first, true));
    POSTERN_ASSIGN_OR_RETURN(std::string value, Decoded(pair.second, true));
    query.emplace(absl::AsciiStrToLower(name), std::move(value));
  }
  return query;
}

}  // namespace

std::string Target::Query(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? "" : found->second;
}

absl::StatusOr<Target> ParseTarget(absl::string_view text) {
  if (!absl::StartsWith(text, "/")) return Wrong("the address is not a path");
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('?', 1));
  Target target;
  const std::vector<absl::string_view> segments = absl::StrSplit(parts.first.substr(1), '/');
  if (segments.size() > kMaxSegments) return Wrong("the address has too many parts");
  for (const absl::string_view segment : segments) {
    POSTERN_ASSIGN_OR_RETURN(std::string decoded, Decoded(segment, false));
    target.segments.push_back(std::move(decoded));
  }
  // A slash at the end says nothing.
  if (target.segments.size() > 1 && target.segments.back().empty()) target.segments.pop_back();
  POSTERN_ASSIGN_OR_RETURN(target.query, ParseQuery(parts.second));
  return target;
}

std::optional<std::vector<std::string>> Match(absl::string_view pattern,
                                              const std::vector<std::string>& segments) {
  const std::vector<absl::string_view> wanted = absl::StrSplit(pattern.substr(1), '/');
  if (wanted.size() != segments.size()) return std::nullopt;
  std::vector<std::string> values;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == "{}") {
      values.push_back(segments[i]);
    } else if (!absl::EqualsIgnoreCase(wanted[i], segments[i])) {
      return std::nullopt;
    }
  }
  return values;
}

}  // namespace postern::controller
