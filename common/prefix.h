// IP addresses and CIDR prefixes.

#ifndef POSTERN_COMMON_PREFIX_H_
#define POSTERN_COMMON_PREFIX_H_

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern {

enum class Family : uint8_t { kIpv4, kIpv6 };

// The number of bits in an address: 32 or 128.
constexpr int AddressBits(Family family) { return family == Family::kIpv4 ? 32 : 128; }

// An IPv4 or IPv6 address, in network order. IPv4 uses the first four bytes and
// leaves the others zero.
struct Address {
  Family family = Family::kIpv4;
  std::array<uint8_t, 16> bytes = {};

  // Accepts what inet_pton(3) accepts. An IPv4-mapped IPv6 address
  // (RFC 4291, 2.5.5.2) is taken as the IPv4 address it stands for, because
  // that is what the packets will carry.
  static absl::StatusOr<Address> Parse(absl::string_view text);

  std::string ToString() const;
  size_t size() const { return static_cast<size_t>(AddressBits(family) / 8); }

  friend auto operator<=>(const Address&, const Address&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Address& a) {
    return H::combine(std::move(h), a.family, a.bytes);
  }
};

// 127.0.0.0/8 and ::1 (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
bool IsLoopback(const Address& address);

// `address` with all but the first `length` bits cleared.
Address Masked(const Address& address, int length);

// A CIDR prefix whose host bits are zero.
struct Prefix {
  Address address;
  uint8_t length = 0;

  // Accepts "ADDRESS/LENGTH", and a bare address as a host prefix. Refuses host
  // bits that are set, naming the prefix that was probably meant.
  static absl::StatusOr<Prefix> Parse(absl::string_view text);
  // The prefix that holds `address` alone.
  static Prefix Host(const Address& address);

  // Always with its length: "203.0.113.7/32".
  std::string ToString() const;
  Family family() const { return address.family; }
  bool Contains(const Address& other) const;
  bool Contains(const Prefix& other) const;

  friend auto operator<=>(const Prefix&, const Prefix&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Prefix& p) {
    return H::combine(std::move(h), p.address, p.length);
  }
};

}  // namespace postern

#endif  // POSTERN_COMMON_PREFIX_H_
