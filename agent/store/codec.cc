#include "agent/store/codec.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

template <typename Value>
std::string Encode(const std::vector<Value>& values) {
  return absl::StrJoin(values, " ", [](std::string* out, const Value& value) {
    absl::StrAppend(out, value.ToString());
  });
}

absl::StatusOr<Port> DecodePort(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, '/');
  uint32_t number = 0;
  if (absl::SimpleAtoi(parts.first, &number) && number != 0 && number <= UINT16_MAX) {
    const bool any = parts.second == "any";
    const Port port{.number = static_cast<uint16_t>(number),
                    .tcp = any || parts.second == "tcp",
                    .udp = any || parts.second == "udp"};
    // Nothing but what was written is believed: neither "+22/tcp" nor "22/tcp/".
    if ((port.tcp || port.udp) && port.ToString() == text) return port;
  }
  constexpr size_t kMaxShown = 32;
  return absl::DataLossError(
      absl::StrCat("\"", Printable(text.substr(0, kMaxShown)), "\" is not a port"));
}

}  // namespace

std::string EncodePrefixes(const std::vector<Prefix>& prefixes) { return Encode(prefixes); }

absl::StatusOr<std::vector<Prefix>> DecodePrefixes(absl::string_view text) {
  std::vector<Prefix> prefixes;
  for (const absl::string_view part : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const absl::StatusOr<Prefix> prefix = Prefix::Parse(part);
    if (!prefix.ok()) return absl::DataLossError(prefix.status().message());
    prefixes.push_back(*prefix);
  }
  return prefixes;
}

std::string EncodePorts(const std::vector<Port>& ports) { return Encode(ports); }

absl::StatusOr<std::vector<Port>> DecodePorts(absl::string_view text) {
  std::vector<Port> ports;
  for (const absl::string_view part : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    POSTERN_ASSIGN_OR_RETURN(const Port port, DecodePort(part));
    ports.push_back(port);
  }
  return ports;
}

int64_t EncodeTime(absl::Time time) { return absl::ToUnixNanos(time); }

absl::Time DecodeTime(int64_t nanoseconds) { return absl::FromUnixNanos(nanoseconds); }

std::optional<int64_t> EncodeTime(const std::optional<absl::Time>& time) {
  if (!time) return std::nullopt;
  return EncodeTime(*time);
}

std::optional<absl::Time> DecodeTime(const std::optional<int64_t>& nanoseconds) {
  if (!nanoseconds) return std::nullopt;
  return DecodeTime(*nanoseconds);
}

std::optional<int64_t> EncodeDuration(const std::optional<absl::Duration>& duration) {
  if (!duration) return std::nullopt;
  return absl::ToInt64Nanoseconds(*duration);
}

std::optional<absl::Duration> DecodeDuration(const std::optional<int64_t>& nanoseconds) {
  if (!nanoseconds) return std::nullopt;
  return absl::Nanoseconds(*nanoseconds);
}

}  // namespace postern
