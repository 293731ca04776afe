// A transaction as the bytes of a netlink batch. Pure: the same arguments give
// the same bytes.

#ifndef POSTERN_AGENT_FIREWALL_NFT_ENCODE_H_
#define POSTERN_AGENT_FIREWALL_NFT_ENCODE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/timeout.h"
#include "agent/firewall/ruleset.h"

namespace postern::nft {

// Writes `transaction` into `batch`, whose header gets `first_sequence`.
// UNAVAILABLE for what no kernel would take: a rule or a key that is too long.
absl::Status Encode(const Transaction& transaction, const Capabilities& capabilities,
                    const TimeoutClock& clock, uint32_t first_sequence, Batch& batch);

// Writes what takes the table away, whether there is one or not.
void EncodeRemoval(uint32_t first_sequence, Batch& batch);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_ENCODE_H_
