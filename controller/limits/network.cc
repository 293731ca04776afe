#include "controller/limits/network.h"

namespace postern::controller {

std::string NetworkOf(const std::optional<Address>& peer) {
  constexpr int kNetworkBits = 64;
  if (!peer) return "";
  return (peer->family == Family::kIpv6 ? Masked(*peer, kNetworkBits) : *peer).ToString();
}

}  // namespace postern::controller
