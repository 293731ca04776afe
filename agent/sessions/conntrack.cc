#include "agent/sessions/conntrack.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "common/status.h"

namespace postern {
namespace {

// A tuple of IPv6 with its zone has 76 bytes.
constexpr size_t kMaxName = 256;

// A walk through the whole table costs the kernel less than sending it: up to
// this many services of a family are asked for one by one.
constexpr size_t kMaxFilteredDumps = 8;

// Bits of CTA_FILTER_ORIG_FLAGS (the kernel's net/netfilter/nf_internals.h;
// Linux 5.8 and later, older ones send everything).
constexpr uint32_t kFilterProtocol = 1U << 3;
constexpr uint32_t kFilterDestinationPort = 1U << 5;

uint8_t NetlinkFamily(Family family) { return family == Family::kIpv4 ? AF_INET : AF_INET6; }

void PutHeader(nlmsghdr* message, uint8_t type, uint8_t family) {
  message->nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
  auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  header->nfgen_family = family;
  header->version = NFNETLINK_V0;
}

void PutEntry(nlmsghdr* message, uint8_t type, const ConntrackEntry& entry) {
  PutHeader(message, type, NetlinkFamily(entry.flow.sent.remote.family));
  std::memcpy(mnl_nlmsg_get_payload_tail(message), entry.name.data(), entry.name.size());
  message->nlmsg_len += static_cast<uint32_t>(entry.name.size());
}

// One direction of an entry.
struct Tuple {
  Protocol protocol = Protocol::kTcp;
  Address source;
  uint16_t source_port = 0;
  Address destination;
  uint16_t destination_port = 0;
};

std::optional<Tuple> ParseTuple(const nlattr* attribute) {
  const auto tuple = ParseNested<CTA_TUPLE_MAX + 1>(attribute);
  const auto ip = ParseNested<CTA_IP_MAX + 1>(tuple[CTA_TUPLE_IP]);
  const auto ports = ParseNested<CTA_PROTO_MAX + 1>(tuple[CTA_TUPLE_PROTO]);
  Tuple parsed;
  const bool six = ip[CTA_IP_V6_SRC] != nullptr;
  const size_t size = six ? 16 : 4;
  parsed.source.family = parsed.destination.family = six ? Family::kIpv6 : Family::kIpv4;
  uint8_t protocol = 0;
  if (!CopyPayload(ip[six ? CTA_IP_V6_SRC : CTA_IP_V4_SRC], parsed.source.bytes.data(), size) ||
      !CopyPayload(ip[six ? CTA_IP_V6_DST : CTA_IP_V4_DST], parsed.destination.bytes.data(),
                   size) ||
      !CopyPayload(ports[CTA_PROTO_NUM], &protocol, sizeof protocol) ||
      !CopyPayload(ports[CTA_PROTO_SRC_PORT], &parsed.source_port, sizeof(uint16_t)) ||
      !CopyPayload(ports[CTA_PROTO_DST_PORT], &parsed.destination_port, sizeof(uint16_t))) {
    return std::nullopt;
  }
  if (protocol != static_cast<uint8_t>(Protocol::kTcp) &&
      protocol != static_cast<uint8_t>(Protocol::kUdp)) {
    return std::nullopt;
  }
  parsed.protocol = static_cast<Protocol>(protocol);
  parsed.source_port = ntohs(parsed.source_port);
  parsed.destination_port = ntohs(parsed.destination_port);
  return parsed;
}

void AppendAttribute(const nlattr* attribute, Bytes& to) {
  if (attribute == nullptr) return;
  const auto* bytes = reinterpret_cast<const uint8_t*>(attribute);
  to.insert(to.end(), bytes, bytes + attribute->nla_len);
  to.resize(MNL_ALIGN(to.size()), 0);
}

bool HasCutLabel(const nlattr* labels) {
  static const Bytes* const kLabel = new Bytes(CutLabel());
  if (labels == nullptr) return false;
  const auto* bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(labels));
  const size_t size = std::min<size_t>(mnl_attr_get_payload_len(labels), kLabel->size());
  for (size_t i = 0; i < size; ++i) {
    if ((bytes[i] & (*kLabel)[i]) != 0) return true;
  }
  return false;
}

void PutAddress(nlmsghdr* message, const Address& address, uint16_t type4, uint16_t type6) {
  mnl_attr_put(message, address.family == Family::kIpv4 ? type4 : type6, address.size(),
               address.bytes.data());
}

}  // namespace

std::optional<ConntrackEntry> ParseConntrackEntry(const nlmsghdr& message) {
  const auto attributes = ParseAttributes<CTA_MAX + 1>(message, sizeof(nfgenmsg));
  const std::optional<Tuple> original = ParseTuple(attributes[CTA_TUPLE_ORIG]);
  const std::optional<Tuple> reply = ParseTuple(attributes[CTA_TUPLE_REPLY]);
  if (!original.has_value() || !reply.has_value()) return std::nullopt;

  ConntrackEntry entry;
  entry.flow.protocol = original->protocol;
  entry.flow.sent = {.remote = original->source,
                     .remote_port = original->source_port,
                     .local = original->destination,
                     .local_port = original->destination_port};
  entry.flow.served = {.remote = reply->destination,
                       .remote_port = reply->destination_port,
                       .local = reply->source,
                       .local_port = reply->source_port};
  entry.flow.cut = HasCutLabel(attributes[CTA_LABELS]);
  AppendAttribute(attributes[CTA_TUPLE_ORIG], entry.name);
  AppendAttribute(attributes[CTA_ZONE], entry.name);
  if (entry.name.size() > kMaxName) return std::nullopt;
  CopyPayload(attributes[CTA_ID], entry.id.data(), entry.id.size());
  return entry;
}

absl::StatusOr<Conntrack> Conntrack::Open() {
  POSTERN_ASSIGN_OR_RETURN(NetlinkSocket netlink,
                           NetlinkSocket::Open(NETLINK_NETFILTER, "conntrack"));
  return Conntrack(std::move(netlink));
}

absl::Status Conntrack::Visit(const std::set<EndedKeys::Service>& services,
                              absl::FunctionRef<void(ConntrackEntry)> visit) {
  std::map<Family, std::vector<std::pair<Protocol, uint16_t>>> by_family;
  for (const EndedKeys::Service& service : services) {
    by_family[service.family].emplace_back(service.protocol, service.port);
  }
  for (const auto& [family, wanted] : by_family) {
    if (wanted.size() > kMaxFilteredDumps) {
      POSTERN_RETURN_IF_ERROR(VisitFiltered(family, std::nullopt, visit));
      continue;
    }
    for (const auto& service : wanted) {
      POSTERN_RETURN_IF_ERROR(VisitFiltered(family, service, visit));
    }
  }
  return absl::OkStatus();
}

absl::Status Conntrack::VisitFiltered(Family family,
                                      std::optional<std::pair<Protocol, uint16_t>> service,
                                      absl::FunctionRef<void(ConntrackEntry)> visit) {
  return netlink_.Dump(
      [&](nlmsghdr* message) {
        PutHeader(message, IPCTNL_MSG_CT_GET, NetlinkFamily(family));
        if (!service.has_value()) return;
        nlattr* const filter = mnl_attr_nest_start(message, CTA_FILTER);
        mnl_attr_put_u32(message, CTA_FILTER_ORIG_FLAGS, kFilterProtocol | kFilterDestinationPort);
        mnl_attr_put_u32(message, CTA_FILTER_REPLY_FLAGS, 0);
        mnl_attr_nest_end(message, filter);
        nlattr* const tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
        nlattr* const ports = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
        mnl_attr_put_u8(message, CTA_PROTO_NUM, static_cast<uint8_t>(service->first));
        mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(service->second));
        mnl_attr_nest_end(message, ports);
        mnl_attr_nest_end(message, tuple);
      },
      [] {},
      [&](const nlmsghdr& message) {
        std::optional<ConntrackEntry> entry = ParseConntrackEntry(message);
        if (entry.has_value()) visit(*std::move(entry));
        return absl::OkStatus();
      });
}

absl::StatusOr<std::vector<bool>> Conntrack::Has(const std::vector<Flow>& served) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<int> errors,
      netlink_.Execute(served.size(), [&](size_t i, nlmsghdr* message) {
        const Flow& flow = served[i];
        PutHeader(message, IPCTNL_MSG_CT_GET, NetlinkFamily(flow.remote.family));
        nlattr* const tuple = mnl_attr_nest_start(message, CTA_TUPLE_REPLY);
        nlattr* const ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);
        PutAddress(message, flow.local, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
        PutAddress(message, flow.remote, CTA_IP_V4_DST, CTA_IP_V6_DST);
        mnl_attr_nest_end(message, ip);
        nlattr* const ports = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
        mnl_attr_put_u8(message, CTA_PROTO_NUM, static_cast<uint8_t>(Protocol::kTcp));
        mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(flow.local_port));
        mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(flow.remote_port));
        mnl_attr_nest_end(message, ports);
        mnl_attr_nest_end(message, tuple);
      }));
  std::vector<bool> has;
  has.reserve(errors.size());
  for (const int error : errors) {
    if (error != 0 && error != ENOENT) return Refused(error, "look up a flow");
    has.push_back(error == 0);
  }
  return has;
}

absl::StatusOr<std::vector<int>> Conntrack::Mark(const std::vector<ConntrackEntry>& entries) {
  const Bytes label = CutLabel();
  return netlink_.Execute(entries.size(), [&](size_t i, nlmsghdr* message) {
    PutEntry(message, IPCTNL_MSG_CT_NEW, entries[i]);
    mnl_attr_put(message, CTA_LABELS, label.size(), label.data());
    mnl_attr_put(message, CTA_LABELS_MASK, label.size(), label.data());
  });
}

absl::StatusOr<std::vector<int>> Conntrack::Delete(const std::vector<ConntrackEntry>& entries) {
  return netlink_.Execute(entries.size(), [&](size_t i, nlmsghdr* message) {
    PutEntry(message, IPCTNL_MSG_CT_DELETE, entries[i]);
    mnl_attr_put(message, CTA_ID, entries[i].id.size(), entries[i].id.data());
  });
}

absl::Status Conntrack::Refused(int error_number, absl::string_view what) const {
  return netlink_.Refused(error_number, what);
}

}  // namespace postern
