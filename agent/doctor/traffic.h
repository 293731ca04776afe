// The packets that the doctor follows, and the chains that they meet.

#ifndef POSTERN_AGENT_DOCTOR_TRAFFIC_H_
#define POSTERN_AGENT_DOCTOR_TRAFFIC_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "agent/doctor/walk.h"
#include "agent/firewall/nft/foreign.h"
#include "common/prefix.h"

namespace postern {

enum class HookPoint : uint8_t { kIngress, kPrerouting, kInput, kForward, kOutput, kOther };

inline constexpr Family kFamilies[] = {Family::kIpv4, Family::kIpv6};

bool IsOurs(const nft::ForeignTable& table);
// Packets of the family meet its chains.
bool Carries(const nft::ForeignTable& table, Family family);
// kOther for a chain that is only jumped to.
HookPoint HookOf(const nft::ForeignTable& table, const nft::ForeignChain& chain);

// The priority of the gate, the later one of our two chains at prerouting; empty
// when it is not there.
std::optional<int32_t> GatePriority(const nft::ForeignRuleset& ruleset);

// The first packet from outside for a port of this host, after connection
// tracking. (What a rule before that asks of the state is as if it had been.)
Probe NewConnection(Family family, uint8_t protocol, uint16_t port);
// The same for any port and protocol.
Probe AnyConnection(Family family);
// A server's answer from the port, on its way out.
Probe Answer(Family family, uint8_t protocol, uint16_t port);

// Calls `take` with each base chain at `hook` of another program's table that
// packets of the family meet.
template <typename Take>
void ForEachChain(const nft::ForeignRuleset& ruleset, Family family, HookPoint hook, Take take) {
  for (const nft::ForeignTable& table : ruleset.tables) {
    if (table.dormant || IsOurs(table) || !Carries(table, family)) continue;
    for (const nft::ForeignChain& chain : table.chains) {
      if (chain.hook.has_value() && HookOf(table, chain) == hook) take(table, chain);
    }
  }
}

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_TRAFFIC_H_
