#include "agent/sessions/local_addresses.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "common/status.h"

namespace postern {

std::optional<Prefix> ParseLocalRoute(const nlmsghdr& message) {
  rtmsg route;
  if (mnl_nlmsg_get_payload_len(&message) < sizeof route) return std::nullopt;
  std::memcpy(&route, mnl_nlmsg_get_payload(&message), sizeof route);
  if (route.rtm_type == RTN_UNICAST || route.rtm_table != RT_TABLE_LOCAL ||
      (route.rtm_family != AF_INET && route.rtm_family != AF_INET6)) {
    return std::nullopt;
  }
  Address address;
  address.family = route.rtm_family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  if (route.rtm_dst_len > AddressBits(address.family)) return std::nullopt;

  const auto attributes = ParseAttributes<RTA_DST + 1>(message, sizeof route);
  // A default route has no destination.
  if (!CopyPayload(attributes[RTA_DST], address.bytes.data(), address.size()) &&
      route.rtm_dst_len != 0) {
    return std::nullopt;
  }
  return Prefix{.address = Masked(address, route.rtm_dst_len), .length = route.rtm_dst_len};
}

absl::StatusOr<LocalAddresses> LocalAddresses::Open() {
  POSTERN_ASSIGN_OR_RETURN(NetlinkSocket netlink,
                           NetlinkSocket::Open(NETLINK_ROUTE, "local routes"));
  netlink.FilterDumpsStrictly();
  return LocalAddresses(std::move(netlink));
}

absl::StatusOr<PrefixIndex> LocalAddresses::Read() {
  PrefixIndex local;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    POSTERN_RETURN_IF_ERROR(netlink_.Dump(
        [&](nlmsghdr* message) {
          message->nlmsg_type = RTM_GETROUTE;
          auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(rtmsg)));
          route->rtm_family = family;
          route->rtm_table = RT_TABLE_LOCAL;
        },
        [] {},
        [&](const nlmsghdr& message) {
          const std::optional<Prefix> prefix = ParseLocalRoute(message);
          if (prefix.has_value()) local.Insert(*prefix);
          return absl::OkStatus();
        }));
  }
  return local;
}

}  // namespace postern
