// Elements of sets, put into a batch many to a message. Written with libmnl
// alone: this is what every grant costs.

#ifndef POSTERN_AGENT_FIREWALL_NFT_ELEMENTS_H_
#define POSTERN_AGENT_FIREWALL_NFT_ELEMENTS_H_

#include <cstddef>

#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/timeout.h"
#include "agent/firewall/ruleset.h"

namespace postern::nft {

// Appends the messages for the run of element operations that starts at `first`
// of `transaction`: as many of the following ones as can share its messages.
// Returns the index of the first operation that is not among them. A PutElement
// whose end has passed becomes a removal.
size_t AppendElements(const Transaction& transaction, size_t first,
                      const Capabilities& capabilities, const TimeoutClock& clock, Batch& batch);

// Appends the elements of a set that `transaction` added at `operation`.
void AppendConstantElements(const AddConstantSet& set, size_t operation, Batch& batch);

// The same for a set whose elements end.
void AppendTimedElements(const AddTimedSet& set, const TimeoutClock& clock, size_t operation,
                         Batch& batch);

// Appends the elements of a set of refused sources that `transaction` added at
// `operation`.
void AppendDeniedElements(const AddDeniedSet& set, size_t operation, Batch& batch);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_ELEMENTS_H_
