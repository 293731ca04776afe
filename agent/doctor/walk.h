// What becomes of a packet in another program's chain, as far as it can be told
// without knowing everything about the packet. Pure.

#ifndef POSTERN_AGENT_DOCTOR_WALK_H_
#define POSTERN_AGENT_DOCTOR_WALK_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "agent/firewall/nft/foreign.h"

namespace postern {

// What is known of a packet, by nft::Field; empty: any value.
struct Probe {
  std::optional<uint32_t> family = std::nullopt;
  std::optional<uint32_t> protocol = std::nullopt;
  std::optional<uint32_t> source_port = std::nullopt;
  std::optional<uint32_t> destination_port = std::nullopt;
  std::optional<uint32_t> state = std::nullopt;
  std::optional<uint32_t> status = std::nullopt;
  std::optional<uint32_t> destination_type = std::nullopt;
};

// A rule, or where that is null the policy of a base chain. Points into the
// table.
struct Place {
  const nft::ForeignChain* chain = nullptr;
  const nft::ForeignRule* rule = nullptr;
  friend bool operator==(const Place&, const Place&) = default;
};

struct DropAt {
  Place place = {};
  // Reject, queue, or drop.
  nft::Verdict verdict = nft::Verdict::kDrop;
  // Only for some of the packets: the rule, or what leads to it, looks at more
  // than is known.
  bool conditional = false;
};

struct EffectAt {
  Place place = {};
  const nft::Effect* effect = nullptr;
  bool conditional = false;
};

struct Fate {
  // The packet may get through the chain.
  bool may_pass = false;
  // Where it may end.
  std::vector<DropAt> drops = {};
  // What may be done to it on the way.
  std::vector<EffectAt> effects = {};
};

// Takes time that is linear in the rules of the table. Chains that are missing
// or lead back to themselves are passed.
Fate Walk(const nft::ForeignTable& table, const nft::ForeignChain& base, const Probe& probe);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_WALK_H_
