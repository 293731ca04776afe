// The kernel's answers as values. Pure: every length is checked before it is
// believed, and what is malformed or not of our making is left out.

#ifndef POSTERN_AGENT_FIREWALL_NFT_READ_H_
#define POSTERN_AGENT_FIREWALL_NFT_READ_H_

#include <linux/netlink.h>

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "agent/firewall/firewall.h"
#include "agent/firewall/ruleset.h"

namespace postern::nft {

// The set that SetId::Name calls so; empty for another name.
std::optional<SetId> ParseSetName(absl::string_view name);

// The netlink port of the socket that a table, as a NEWTABLE message describes
// it, belongs to, if it is also kept when that socket is closed; empty for one
// that any program may change.
std::optional<uint32_t> ParseProtector(const nlmsghdr& message);

// The granted set that a NEWSET message of our table describes.
std::optional<SetId> ParseSet(const nlmsghdr& message);

// One element of a NEWSETELEM message.
struct RawElement {
  absl::Span<const uint8_t> key;
  // Milliseconds left; empty for an element that does not end.
  std::optional<uint64_t> expiration;
  Counter counter;
};

// Passes each element of a NEWSETELEM message to `take`, while it lasts.
void ForEachElement(const nlmsghdr& message, absl::FunctionRef<void(const RawElement&)> take);

// The element as one of `set`; empty when the bytes are no key of it, or when it
// has expired and only waits to be collected. An element without an end remains
// for absl::InfiniteDuration().
std::optional<InstalledElement> ParseElement(const RawElement& element, const SetId& set);

// The inverse of FlowKey.
std::optional<Flow> ParseFlow(absl::Span<const uint8_t> key);

// The value of a counter that a NEWOBJ message describes.
std::optional<Counter> ParseCounter(const nlmsghdr& message);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_READ_H_
