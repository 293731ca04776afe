// What the kernel answers about sockets (sock_diag), tracked connections
// (conntrack) and this host's addresses (rtnetlink). The input is a netlink
// datagram, which all three read.

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "agent/sessions/conntrack.h"
#include "agent/sessions/local_addresses.h"
#include "agent/sessions/netlink.h"
#include "agent/sessions/sock_diag.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guarded.h"

namespace postern {
namespace {

void CheckSocket(const nlmsghdr& message) {
  const std::optional<TcpSocket> socket = ParseTcpSocket(message);
  if (!socket.has_value()) return;
  FUZZ_CHECK(socket->family == AF_INET || socket->family == AF_INET6);
  if (socket->family == AF_INET) {
    FUZZ_CHECK(socket->flow.local.family == Family::kIpv4);
    FUZZ_CHECK(socket->flow.remote.family == Family::kIpv4);
  }
}

// The name under which an entry will be marked or deleted: that entry's, and no
// other's.
void CheckName(const ConntrackEntry& entry) {
  FUZZ_CHECK(entry.name.size() <= 256 && entry.name.size() % MNL_ALIGNTO == 0);
  std::vector<uint64_t> space(128);
  nlmsghdr* const message = mnl_nlmsg_put_header(space.data());
  mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg));
  const auto put_name = [&] {
    void* const at = mnl_nlmsg_get_payload_tail(message);
    std::memcpy(at, entry.name.data(), entry.name.size());
    message->nlmsg_len += static_cast<uint32_t>(entry.name.size());
    return static_cast<nlattr*>(at);
  };
  // An entry has both directions: the tuple once more, as the reply's.
  nlattr* const tuple = put_name();
  tuple->nla_type = static_cast<uint16_t>((tuple->nla_type & ~NLA_TYPE_MASK) | CTA_TUPLE_REPLY);
  put_name();
  const std::optional<ConntrackEntry> named = ParseConntrackEntry(*message);
  FUZZ_CHECK(named.has_value());
  FUZZ_CHECK(named->flow.sent == entry.flow.sent && named->flow.protocol == entry.flow.protocol);
  FUZZ_CHECK(named->name == entry.name);
}

void CheckConnection(const nlmsghdr& message) {
  const std::optional<ConntrackEntry> entry = ParseConntrackEntry(message);
  if (!entry.has_value()) return;
  FUZZ_CHECK(entry->flow.sent.remote.family == entry->flow.sent.local.family);
  FUZZ_CHECK(entry->flow.served.remote.family == entry->flow.served.local.family);
  CheckName(*entry);
}

void CheckRoute(const nlmsghdr& message) {
  const std::optional<Prefix> local = ParseLocalRoute(message);
  if (!local.has_value()) return;
  const absl::StatusOr<Prefix> again = Prefix::Parse(local->ToString());
  FUZZ_CHECK(local->length <= AddressBits(local->family()));
  FUZZ_CHECK(Masked(local->address, local->length) == local->address);
  // An IPv4-mapped address is read as IPv4, and its prefix is another one then.
  if (again.ok() && again->family() == local->family()) FUZZ_CHECK(*again == *local);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::ForEachMessage(data, size, postern::IsWholeMessage, [](const nlmsghdr& message) {
    postern::CheckSocket(message);
    postern::CheckConnection(message);
    postern::CheckRoute(message);
  });
  return 0;
}
