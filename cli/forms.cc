#include "cli/forms.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/duration.h"
#include "common/text.h"

namespace postern {
namespace {

// How much of a wrong value is repeated in the message about it.
constexpr size_t kMaxShown = 80;

absl::Status Wrong(absl::string_view text, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", Printable(text.substr(0, kMaxShown)), "\" ", what));
}

bool AllDigits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// A port number, or 0 when `text` is none.
int PortNumber(absl::string_view text) {
  int number = 0;
  if (text.size() > 5 || !AllDigits(text) || !absl::SimpleAtoi(text, &number)) return 0;
  return number <= 65535 ? number : 0;
}

// Whether `text` has the shape of RFC 3339's date-time, to the character.
bool HasTimestampShape(absl::string_view text) {
  constexpr absl::string_view kShape = "dddd-dd-ddTdd:dd:dd";
  constexpr size_t kMaxFraction = 9;
  const auto fits = [](absl::string_view part, absl::string_view shape) {
    return part.size() == shape.size() &&
           std::equal(part.begin(), part.end(), shape.begin(), [](char c, char s) {
             return s == 'd' ? absl::ascii_isdigit(static_cast<unsigned char>(c)) : c == s;
           });
  };
  if (text.size() < kShape.size() || !fits(text.substr(0, kShape.size()), kShape)) return false;
  text.remove_prefix(kShape.size());
  if (absl::ConsumePrefix(&text, ".")) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0 || digits > kMaxFraction) return false;
    text.remove_prefix(digits);
  }
  return text == "Z" || fits(text, "+dd:dd") || fits(text, "-dd:dd");
}

}  // namespace

absl::StatusOr<v1::Port> ParsePort(absl::string_view text) {
  const size_t slash = text.find('/');
  const int number = PortNumber(text.substr(0, slash));
  v1::Port port;
  port.set_number(static_cast<uint32_t>(number));
  const absl::string_view protocol =
      slash == absl::string_view::npos ? "tcp" : text.substr(slash + 1);
  if (absl::EqualsIgnoreCase(protocol, "tcp")) {
    port.set_protocol(v1::TCP);
  } else if (absl::EqualsIgnoreCase(protocol, "udp")) {
    port.set_protocol(v1::UDP);
  } else if (absl::EqualsIgnoreCase(protocol, "any")) {
    port.set_protocol(v1::ANY);
  }
  if (number == 0 || port.protocol() == v1::PROTOCOL_UNSPECIFIED) {
    return Wrong(text, "is not a port from 1 to 65535; write 22 (TCP), 22/tcp, 22/udp or 22/any");
  }
  return port;
}

std::string FormatPort(const v1::Port& port) {
  switch (port.protocol()) {
    case v1::TCP:
      return absl::StrCat(port.number(), "/tcp");
    case v1::UDP:
      return absl::StrCat(port.number(), "/udp");
    case v1::ANY:
      return absl::StrCat(port.number(), "/any");
    default:
      return absl::StrCat(port.number(), "/?");
  }
}

absl::StatusOr<absl::Time> ParseTimestamp(absl::string_view text) {
  absl::Time time;
  std::string ignored;
  if (!HasTimestampShape(text) || !absl::ParseTime(absl::RFC3339_full, text, &time, &ignored)) {
    return Wrong(text,
                 "is not a time with its offset; write 2024-05-01T14:30:00Z or "
                 "2024-05-01T14:30:00+02:00");
  }
  return time;
}

absl::StatusOr<absl::Time> ParseSince(absl::string_view text, absl::Time now) {
  if (absl::StatusOr<absl::Duration> ago = ParseDuration(text); ago.ok()) return now - *ago;
  absl::StatusOr<absl::Time> time = ParseTimestamp(text);
  if (!time.ok()) {
    return Wrong(text, "is neither a duration such as 7d nor a time such as 2024-05-01T14:30:00Z");
  }
  return time;
}

absl::StatusOr<Address> SshClient(absl::string_view ssh_connection) {
  const std::vector<absl::string_view> fields = absl::StrSplit(ssh_connection, ' ');
  if (fields.size() != 4 || PortNumber(fields[1]) == 0 || PortNumber(fields[3]) == 0) {
    return Wrong(ssh_connection, "in SSH_CONNECTION is not what ssh sets; give --from");
  }
  if (fields[0].find('%') != absl::string_view::npos) {
    return Wrong(fields[0],
                 "in SSH_CONNECTION is a link-local address of one interface (a zone follows its "
                 "%), which a grant cannot hold; give --from");
  }
  absl::StatusOr<Address> address = Address::Parse(fields[0]);
  if (!address.ok()) return Wrong(fields[0], "in SSH_CONNECTION is not an address; give --from");
  return address;
}

std::string HostPort::ToString() const {
  return is_ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

bool IsDnsName(absl::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (const absl::string_view label : absl::StrSplit(text, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
      return false;
    }
    const bool known = std::all_of(label.begin(), label.end(), [](unsigned char c) {
      return absl::ascii_isalnum(c) || c == '-';
    });
    if (!known) return false;
  }
  return true;
}

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  constexpr absl::string_view kForms =
      "is not HOST:PORT; write vm1.example.org:7443, 192.0.2.10:7443 or [2001:db8::1]:7443";
  HostPort parsed;
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return Wrong(text, kForms);
  parsed.port = PortNumber(text.substr(colon + 1));
  absl::string_view host = text.substr(0, colon);
  const bool brackets = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (parsed.port == 0) return Wrong(text, kForms);
  const absl::StatusOr<Address> address = Address::Parse(host);
  if (address.ok()) {
    // A mapped address becomes the IPv4 address, with or without brackets.
    parsed.is_ipv4 = address->family == Family::kIpv4;
    parsed.is_ipv6 = !parsed.is_ipv4;
    const bool has_colon = host.find(':') != absl::string_view::npos;
    if (has_colon != brackets) return Wrong(text, kForms);
    parsed.host = address->ToString();
    return parsed;
  }
  // What looks like an address and is none (192.0.2.300) is no name either.
  const absl::string_view last = host.substr(host.rfind('.') + 1);
  if (brackets || !IsDnsName(host) || AllDigits(last)) return Wrong(text, kForms);
  parsed.host = std::string(host);
  return parsed;
}

}  // namespace postern
