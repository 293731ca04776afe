// The binary forms are those of the kernel's headers; they are copied out, because
// nothing aligns them.

#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "agent/firewall/nft/foreign_rule.h"

namespace postern::nft {
namespace {

using Bytes = absl::Span<const uint8_t>;

template <typename T>
std::optional<T> As(Bytes info) {
  if (info.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, info.data(), sizeof value);
  return value;
}

void AddPorts(Field field, const uint16_t (&ports)[2], bool negated, ForeignRule& rule) {
  if (ports[0] == 0 && ports[1] == 0xffff) return;
  rule.conditions.push_back({.field = field, .negated = negated, .ranges = {{ports[0], ports[1]}}});
}

// False when the binary form is not one that is known.
bool AddTcp(Bytes info, ForeignRule& rule) {
  const auto tcp = As<xt_tcp>(info);
  if (!tcp) return false;
  AddPorts(Field::kSourcePort, tcp->spts, (tcp->invflags & XT_TCP_INV_SRCPT) != 0, rule);
  AddPorts(Field::kDestinationPort, tcp->dpts, (tcp->invflags & XT_TCP_INV_DSTPT) != 0, rule);
  // Flags and options: only some packets.
  if (tcp->flg_mask != 0 || tcp->option != 0) rule.conditions.push_back({});
  return true;
}

bool AddUdp(Bytes info, ForeignRule& rule) {
  const auto udp = As<xt_udp>(info);
  if (!udp) return false;
  AddPorts(Field::kSourcePort, udp->spts, (udp->invflags & XT_UDP_INV_SRCPT) != 0, rule);
  AddPorts(Field::kDestinationPort, udp->dpts, (udp->invflags & XT_UDP_INV_DSTPT) != 0, rule);
  return true;
}

bool AddMultiport(Bytes info, ForeignRule& rule) {
  const auto ports = As<xt_multiport_v1>(info);
  if (!ports || ports->count > XT_MULTI_PORTS || ports->flags == XT_MULTIPORT_EITHER) return false;
  Condition condition{
      .field = ports->flags == XT_MULTIPORT_SOURCE ? Field::kSourcePort : Field::kDestinationPort,
      .negated = ports->invert != 0};
  for (int i = 0; i < ports->count; ++i) {
    const uint16_t low = ports->ports[i];
    // A mark says that the next one ends a range.
    const bool range = ports->pflags[i] != 0 && i + 1 < ports->count;
    if (range) ++i;
    condition.ranges.push_back({low, ports->ports[i]});
  }
  rule.conditions.push_back(std::move(condition));
  return true;
}

void AddState(uint32_t bits, bool negated, ForeignRule& rule) {
  // In one of the states: what is left of the mask is not zero.
  rule.conditions.push_back(
      {.field = Field::kConntrackState, .mask = bits, .negated = !negated, .ranges = {{0, 0}}});
}

bool AddConntrack(Bytes info, ForeignRule& rule) {
  const auto conntrack = As<xt_conntrack_mtinfo3>(info);
  if (!conntrack) return false;
  // The alias says that `-m state` asked for it.
  constexpr unsigned kState = XT_CONNTRACK_STATE;
  if ((conntrack->match_flags & ~XT_CONNTRACK_STATE_ALIAS) != kState) return false;
  // Its own bits for NAT stand above those of the states.
  if ((conntrack->state_mask & (XT_CONNTRACK_STATE_SNAT | XT_CONNTRACK_STATE_DNAT)) != 0) {
    return false;
  }
  AddState(conntrack->state_mask, (conntrack->invert_flags & XT_CONNTRACK_STATE) != 0, rule);
  return true;
}

bool AddXtState(Bytes info, ForeignRule& rule) {
  const auto state = As<xt_state_info>(info);
  if (!state) return false;
  AddState(state->statemask, /*negated=*/false, rule);
  return true;
}

// The heads of struct nf_nat_range (and 2), and of
// nf_nat_ipv4_multi_range_compat, whose headers C++ refuses together.
struct NatRange {
  uint32_t flags;
  uint8_t min_address[16];
  uint8_t max_address[16];
  uint16_t min_port;
};
struct NatRangeIpv4 {
  uint32_t count;
  uint32_t flags;
  uint8_t min_address[4];
  uint8_t max_address[4];
  uint16_t min_port;
};
constexpr uint32_t kMapsAddress = 1U << 0;
constexpr uint32_t kMapsPort = 1U << 1;

void AddNat(EffectKind kind, uint32_t revision, Bytes info, ForeignRule& rule) {
  Effect effect{.kind = kind};
  const bool old = revision == 0 && info.size() < sizeof(NatRange);
  if (const auto range = As<NatRangeIpv4>(info); old && range) {
    if ((range->flags & kMapsPort) != 0) effect.port = be16toh(range->min_port);
    if ((range->flags & kMapsAddress) != 0) {
      effect.address = Address{};
      std::copy_n(range->min_address, 4, effect.address->bytes.begin());
    }
  }
  if (const auto range = As<NatRange>(info); !old && range) {
    if ((range->flags & kMapsPort) != 0) effect.port = be16toh(range->min_port);
    if ((range->flags & kMapsAddress) != 0) {
      // The target does not say which family it is of; an IPv4 address leaves the
      // rest zero.
      const bool four = std::all_of(range->min_address + 4, range->min_address + 16,
                                    [](uint8_t b) { return b == 0; });
      effect.address = Address{.family = four ? Family::kIpv4 : Family::kIpv6};
      std::copy_n(range->min_address, four ? 4 : 16, effect.address->bytes.begin());
    }
  }
  rule.effects.push_back(std::move(effect));
}

void AddCt(Bytes info, ForeignRule& rule) {
  const auto ct = As<xt_ct_target_info>(info);
  if (!ct) return;
  if ((ct->flags & (XT_CT_NOTRACK | XT_CT_NOTRACK_ALIAS)) != 0) {
    rule.effects.push_back({.kind = EffectKind::kUntrack});
  } else if (ct->zone != 0 || (ct->flags & XT_CT_ZONE_MARK) != 0) {
    rule.effects.push_back({.kind = EffectKind::kZone});
  }
}

}  // namespace

void AddXtablesMatch(absl::string_view name, absl::Span<const uint8_t> info, ForeignRule& rule) {
  if (name == "comment") return;
  bool known = false;
  if (name == "tcp") known = AddTcp(info, rule);
  if (name == "udp") known = AddUdp(info, rule);
  if (name == "multiport") known = AddMultiport(info, rule);
  if (name == "conntrack") known = AddConntrack(info, rule);
  if (name == "state") known = AddXtState(info, rule);
  if (!known) rule.conditions.push_back({});
}

void AddXtablesTarget(absl::string_view name, uint32_t revision, absl::Span<const uint8_t> info,
                      ForeignRule& rule) {
  if (name == "REJECT") rule.decision = {.verdict = Verdict::kReject};
  if (name == "NFQUEUE") rule.decision = {.verdict = Verdict::kQueue};
  if (name == "NOTRACK") rule.effects.push_back({.kind = EffectKind::kUntrack});
  if (name == "CT") AddCt(info, rule);
  if (name == "DNAT") AddNat(EffectKind::kTranslate, revision, info, rule);
  if (name == "REDIRECT") AddNat(EffectKind::kRedirect, revision, info, rule);
}

}  // namespace postern::nft
