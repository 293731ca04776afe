#include "common/grpc/peer.h"

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace postern {

std::optional<Endpoint> EndpointOfPeer(absl::string_view grpc_peer) {
  if (!absl::ConsumePrefix(&grpc_peer, "ipv4:") && !absl::ConsumePrefix(&grpc_peer, "ipv6:")) {
    return std::nullopt;
  }
  const size_t colon = grpc_peer.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  const std::string host = absl::StrReplaceAll(
      grpc_peer.substr(0, colon), {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}, {"%25", "%"}});
  const absl::StatusOr<Address> address =
      Address::Parse(absl::string_view(host).substr(0, host.find('%')));
  uint32_t port = 0;
  if (!address.ok() || !absl::SimpleAtoi(grpc_peer.substr(colon + 1), &port) || port > 0xffff) {
    return std::nullopt;
  }
  return Endpoint{.address = *address, .port = static_cast<uint16_t>(port)};
}

}  // namespace postern
