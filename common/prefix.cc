#include "common/prefix.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/text.h"

namespace postern {
namespace {

// The longest text a person can mean by a prefix, INET6_ADDRSTRLEN and "/128".
constexpr size_t kMaxText = INET6_ADDRSTRLEN + 4;

absl::Status NotAnAddress(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", Printable(text.substr(0, kMaxText)), "\" is not an IPv4 or IPv6 address"));
}

}  // namespace

absl::StatusOr<Address> Address::Parse(absl::string_view text) {
  if (text.size() > kMaxText || text.find('\0') != absl::string_view::npos) {
    return NotAnAddress(text);
  }
  const std::string terminated(text);
  Address address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) {
    return address;
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, terminated.c_str(), &six) != 1) return NotAnAddress(text);
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    std::copy_n(six.s6_addr + 12, 4, address.bytes.begin());
    return address;
  }
  address.family = Family::kIpv6;
  std::copy_n(six.s6_addr, 16, address.bytes.begin());
  return address;
}

std::string Address::ToString() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family == Family::kIpv4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

bool IsLoopback(const Address& address) {
  if (address.family == Family::kIpv4) return address.bytes[0] == 127;
  Address one{.family = Family::kIpv6};
  one.bytes[15] = 1;
  return address == one;
}

Address Masked(const Address& address, int length) {
  Address masked = address;
  for (size_t i = 0; i < masked.bytes.size(); ++i) {
    const int bits = std::clamp(length - static_cast<int>(i) * 8, 0, 8);
    masked.bytes[i] &= static_cast<uint8_t>(0xff00 >> bits);
  }
  return masked;
}

absl::StatusOr<Prefix> Prefix::Parse(absl::string_view text) {
  const size_t slash = text.find('/');
  absl::StatusOr<Address> address = Address::Parse(text.substr(0, slash));
  if (!address.ok()) return address.status();
  const int bits = AddressBits(address->family);
  if (slash == absl::string_view::npos) return Host(*address);

  const absl::string_view digits = text.substr(slash + 1);
  int length = 0;
  const bool is_number = !digits.empty() && digits.size() <= 3 &&
                         digits.find_first_not_of("0123456789") == absl::string_view::npos &&
                         absl::SimpleAtoi(digits, &length);
  if (!is_number || length > bits) {
    return absl::InvalidArgumentError(absl::StrCat("\"", Printable(text.substr(0, kMaxText)),
                                                   "\" needs a length from 0 to ", bits,
                                                   " after the slash"));
  }
  const Prefix prefix{.address = Masked(*address, length), .length = static_cast<uint8_t>(length)};
  if (prefix.address != *address) {
    return absl::InvalidArgumentError(absl::StrCat("\"", Printable(text), "\" has host bits set; ",
                                                   prefix.ToString(), " is the network, ",
                                                   Host(*address).ToString(), " the one host"));
  }
  return prefix;
}

Prefix Prefix::Host(const Address& address) {
  return Prefix{.address = address, .length = static_cast<uint8_t>(AddressBits(address.family))};
}

std::string Prefix::ToString() const { return absl::StrCat(address.ToString(), "/", length); }

bool Prefix::Contains(const Address& other) const {
  return other.family == family() && Masked(other, length) == address;
}

bool Prefix::Contains(const Prefix& other) const {
  return other.length >= length && Contains(other.address);
}

}  // namespace postern
