// Who is at the other end of a connection of gRPC's.

#ifndef POSTERN_COMMON_GRPC_PEER_H_
#define POSTERN_COMMON_GRPC_PEER_H_

#include <compare>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "common/prefix.h"

namespace postern {

// The other end of a TCP connection.
struct Endpoint {
  Address address;
  uint16_t port = 0;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// What gRPC's name of a peer says: "ipv4:192.0.2.1:50000" or
// "ipv6:%5B2001:db8::1%5D:50000"; a zone is left out and an IPv4-mapped address
// taken as IPv4. Empty for "unix:" and everything else.
std::optional<Endpoint> EndpointOfPeer(absl::string_view grpc_peer);

}  // namespace postern

#endif  // POSTERN_COMMON_GRPC_PEER_H_
