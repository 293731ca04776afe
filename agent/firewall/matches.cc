#include "agent/firewall/matches.h"

#include <linux/in.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace postern {
namespace {

// The byte of flags in struct tcphdr.
constexpr uint32_t kTcpFlagsOffset = 13;

// A number as the kernel holds it in a register that it fills in host order.
Bytes HostOrder(uint32_t value) {
  Bytes bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

Bytes NetmaskOf(Family family, int length) {
  Address ones{.family = family};
  ones.bytes.fill(0xff);
  const Address mask = Masked(ones, length);
  return Bytes(mask.bytes.begin(), mask.bytes.begin() + mask.size());
}

Bytes AddressBytes(const Address& address) {
  return Bytes(address.bytes.begin(), address.bytes.begin() + address.size());
}

}  // namespace

Bytes NetworkPort(uint16_t port) {
  return {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port & 0xff)};
}

void Append(Expressions& to, Expressions more) {
  std::move(more.begin(), more.end(), std::back_inserter(to));
}

Expressions Concat(std::initializer_list<Expressions> parts) {
  Expressions all;
  for (const Expressions& part : parts) Append(all, part);
  return all;
}

Expressions IsFamily(const FamilyView& view) {
  return {LoadMeta{MetaKey::kNfProtocol}, Compare{.value = {view.netfilter_protocol}}};
}

Expressions IsTcp() { return {LoadMeta{MetaKey::kL4Protocol}, Compare{.value = {IPPROTO_TCP}}}; }

Expressions TcpFlags(uint8_t mask, uint8_t wanted) {
  return {LoadPayload{PayloadBase::kTransport, kTcpFlagsOffset, 1}, Mask{.mask = {mask}},
          Compare{.value = {wanted}}};
}

Expressions IsGuarded(uint32_t offset) {
  return {LoadMeta{MetaKey::kL4Protocol, 0}, LoadPayload{PayloadBase::kTransport, offset, 2, 1},
          Lookup{.set = kGuardedSet}};
}

Expressions IsThisHosts(FibAddress address) {
  return {LoadFibType{address}, Compare{.equal = false, .value = HostOrder(RTN_UNICAST)}};
}

Expressions HasState(uint32_t bits) {
  return {LoadCt{CtKey::kState}, Mask{.mask = HostOrder(bits)},
          Compare{.equal = false, .value = HostOrder(0)}};
}

Expressions IsReply() { return {LoadCt{CtKey::kDirection}, Compare{.value = {IP_CT_DIR_REPLY}}}; }

Expressions HasCutLabel() {
  const Bytes label = CutLabel();
  return {LoadCt{CtKey::kLabel}, Mask{.mask = label},
          Compare{.equal = false, .value = Bytes(label.size(), 0)}};
}

Expressions ThroughTrusted(MetaKey interface) {
  return {LoadMeta{interface}, Lookup{.set = kTrustedSet}};
}

Expression LoadSource(const FamilyView& view, ReadFrom from) {
  if (from == ReadFrom::kOriginalTuple) return LoadCt{CtKey::kOriginalSource, view.family};
  return LoadPayload{PayloadBase::kNetwork, view.source_offset, view.address_length};
}

Expressions LoadProtocolAndPort(const FamilyView& view, ReadFrom from) {
  const int protocol = view.address_registers;
  const int port = protocol + 1;
  if (from == ReadFrom::kOriginalTuple) {
    return {LoadCt{CtKey::kProtocol, view.family, protocol},
            LoadCt{CtKey::kOriginalPort, view.family, port}};
  }
  return {LoadMeta{MetaKey::kL4Protocol, protocol},
          LoadPayload{PayloadBase::kTransport, kDestinationPort, 2, port}};
}

Expressions LookupSource(const FamilyView& view, ReadFrom from, const SetId& set, bool absent) {
  return {LoadSource(view, from), Mask{.mask = NetmaskOf(view.family, set.prefix_length)},
          Lookup{.set = set.Name(), .absent = absent}};
}

Expressions CompareSource(const FamilyView& view, ReadFrom from, const Prefix& prefix, bool equal) {
  return {LoadSource(view, from), Mask{.mask = NetmaskOf(view.family, prefix.length)},
          Compare{.equal = equal, .value = AddressBytes(prefix.address)}};
}

Expressions LookupOlder(const FamilyView& view, bool inbound, bool absent) {
  const int address = view.address_registers;
  const uint32_t remote = inbound ? view.source_offset : view.destination_offset;
  const uint32_t local = inbound ? view.destination_offset : view.source_offset;
  const uint32_t remote_port = inbound ? kSourcePort : kDestinationPort;
  const uint32_t local_port = inbound ? kDestinationPort : kSourcePort;
  return {LoadPayload{PayloadBase::kNetwork, remote, view.address_length, 0},
          LoadPayload{PayloadBase::kTransport, remote_port, 2, address},
          LoadPayload{PayloadBase::kNetwork, local, view.address_length, address + 1},
          LoadPayload{PayloadBase::kTransport, local_port, 2, 2 * address + 1},
          Lookup{.set = view.older_set, .absent = absent}};
}

}  // namespace postern
