#include "agent/doctor/traffic.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "agent/firewall/ruleset.h"

namespace postern {
namespace {

uint32_t NumberOf(Family family) { return family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6; }

}  // namespace

bool IsOurs(const nft::ForeignTable& table) {
  return table.family == NFPROTO_INET && table.name == kTableName;
}

bool Carries(const nft::ForeignTable& table, Family family) {
  return table.family == NFPROTO_INET || table.family == NFPROTO_NETDEV ||
         table.family == NumberOf(family);
}

HookPoint HookOf(const nft::ForeignTable& table, const nft::ForeignChain& chain) {
  if (!chain.hook.has_value()) return HookPoint::kOther;
  const uint32_t number = chain.hook->number;
  if (table.family == NFPROTO_NETDEV) {
    return number == NF_NETDEV_INGRESS ? HookPoint::kIngress : HookPoint::kOther;
  }
  switch (number) {
    case NF_INET_PRE_ROUTING:
      return HookPoint::kPrerouting;
    case NF_INET_LOCAL_IN:
      return HookPoint::kInput;
    case NF_INET_FORWARD:
      return HookPoint::kForward;
    case NF_INET_LOCAL_OUT:
      return HookPoint::kOutput;
    case NF_INET_INGRESS:
      return HookPoint::kIngress;
    default:
      return HookPoint::kOther;
  }
}

std::optional<int32_t> GatePriority(const nft::ForeignRuleset& ruleset) {
  std::vector<int32_t> priorities;
  for (const nft::ForeignTable& table : ruleset.tables) {
    if (!IsOurs(table) || table.dormant) continue;
    for (const nft::ForeignChain& chain : table.chains) {
      if (HookOf(table, chain) == HookPoint::kPrerouting) {
        priorities.push_back(chain.hook->priority);
      }
    }
  }
  // One alone is what spares connection tracking a flood.
  if (priorities.size() < 2) return std::nullopt;
  return *std::max_element(priorities.begin(), priorities.end());
}

Probe NewConnection(Family family, uint8_t protocol, uint16_t port) {
  Probe probe = AnyConnection(family);
  probe.protocol = protocol;
  probe.destination_port = port;
  return probe;
}

Probe AnyConnection(Family family) {
  Probe probe;
  probe.family = NumberOf(family);
  probe.state = NF_CT_STATE_BIT(IP_CT_NEW);
  probe.status = 0;
  probe.destination_type = RTN_LOCAL;
  return probe;
}

Probe Answer(Family family, uint8_t protocol, uint16_t port) {
  Probe probe;
  probe.family = NumberOf(family);
  probe.protocol = protocol;
  probe.source_port = port;
  return probe;
}

}  // namespace postern
