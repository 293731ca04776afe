// What a rule asks of a packet: runs of expressions, each of which goes on only
// for packets that match. Internal to the builder. Pure.

#ifndef POSTERN_AGENT_FIREWALL_MATCHES_H_
#define POSTERN_AGENT_FIREWALL_MATCHES_H_

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "agent/firewall/builder.h"
#include "agent/firewall/ruleset.h"
#include "common/prefix.h"

namespace postern {

inline constexpr char kTrustedSet[] = "trusted";
inline constexpr char kGuardedSet[] = "guarded";

// Flags in struct tcphdr.
inline constexpr uint8_t kTcpFin = 0x01;
inline constexpr uint8_t kTcpSyn = 0x02;
inline constexpr uint8_t kTcpRst = 0x04;
inline constexpr uint8_t kTcpAck = 0x10;

// Offsets of the ports in a TCP or UDP header.
inline constexpr uint32_t kSourcePort = 0;
inline constexpr uint32_t kDestinationPort = 2;

// The bits of `ct state` (NF_CT_STATE_BIT in nf_conntrack_common.h).
inline constexpr uint32_t kStateEstablished = 1U << (IP_CT_ESTABLISHED + 1);
inline constexpr uint32_t kStateNew = 1U << (IP_CT_NEW + 1);

using Expressions = std::vector<Expression>;

// How packets of one family are read.
struct FamilyView {
  Family family;
  uint8_t netfilter_protocol;
  uint32_t source_offset;
  uint32_t destination_offset;
  uint32_t address_length;
  // Registers an address takes.
  int address_registers;
  const char* suffix;
  const char* older_set;
};

// Offsets within struct iphdr and struct ipv6hdr.
inline constexpr FamilyView kIpv4View = {Family::kIpv4, NFPROTO_IPV4, 12, 16, 4, 1,
                                         "4",           kOlderIpv4Set};
inline constexpr FamilyView kIpv6View = {Family::kIpv6, NFPROTO_IPV6, 8, 24, 16, 4,
                                         "6",           kOlderIpv6Set};
inline constexpr FamilyView kViews[] = {kIpv4View, kIpv6View};

// A port as it stands in a packet.
Bytes NetworkPort(uint16_t port);

void Append(Expressions& to, Expressions more);
Expressions Concat(std::initializer_list<Expressions> parts);

Expressions IsFamily(const FamilyView& view);
Expressions IsTcp();
// The flags in `mask` are those in `wanted`.
Expressions TcpFlags(uint8_t mask, uint8_t wanted);
// The port at `offset` of the transport header, with its protocol, is guarded.
Expressions IsGuarded(uint32_t offset);
// The address is delivered on this host: its own, a broadcast, a multicast or
// an anycast one. Everything else is unicast to somebody else.
Expressions IsThisHosts(FibAddress address);
Expressions HasState(uint32_t bits);
// In the direction that did not open the connection.
Expressions IsReply();
Expressions HasCutLabel();
Expressions ThroughTrusted(MetaKey interface);

// Where a packet's source, protocol and port are read from.
enum class ReadFrom { kPacket, kOriginalTuple };

Expression LoadSource(const FamilyView& view, ReadFrom from);
// Into the registers after an address.
Expressions LoadProtocolAndPort(const FamilyView& view, ReadFrom from);
// The lookup of one granted set; protocol and port are in their registers.
Expressions LookupSource(const FamilyView& view, ReadFrom from, const SetId& set, bool absent);
Expressions CompareSource(const FamilyView& view, ReadFrom from, const Prefix& prefix, bool equal);
// This packet's connection, seen from this host, is (or is not) older than the
// gate.
Expressions LookupOlder(const FamilyView& view, bool inbound, bool absent);

}  // namespace postern

#endif  // POSTERN_AGENT_FIREWALL_MATCHES_H_
