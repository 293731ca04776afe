// Ends of grants as timeouts of set elements.
//
// The kernel counts an element's timeout in whole ticks (jiffies) from the tick
// in which it takes the element, and rounds the milliseconds it is given down to
// ticks. So the timeout here is a whole number of ticks, counted from the last
// tick and rounded up: access never ends before its end.

#ifndef POSTERN_AGENT_FIREWALL_NFT_TIMEOUT_H_
#define POSTERN_AGENT_FIREWALL_NFT_TIMEOUT_H_

#include <cstdint>
#include <optional>

#include "common/clock.h"

namespace postern::nft {

// The kernel's tick as a clock.
struct TimeoutClock {
  // The last tick, at the latest.
  BootTime last_tick;
  int64_t ticks_per_second = 250;
};

TimeoutClock ReadTimeoutClock();

// The timeout in milliseconds for an element that ends at `end`; empty when
// `end` has passed.
std::optional<uint64_t> TimeoutMilliseconds(const TimeoutClock& clock, BootTime end);

// How many whole ticks lie between two readings.
int64_t TicksBetween(const TimeoutClock& earlier, const TimeoutClock& later);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_TIMEOUT_H_
