// Proof of use: what the kernel's element counters say about grants.

#ifndef POSTERN_AGENT_ENFORCER_USAGE_H_
#define POSTERN_AGENT_ENFORCER_USAGE_H_

#include <vector>

#include "absl/status/status.h"
#include "agent/firewall/firewall.h"
#include "agent/grants/grant.h"
#include "common/clock.h"

namespace postern {

// Adds to the usage of each grant what the kernel has counted on its elements
// since the table was made. An element that several grants share counts for each
// of them. A set or an element that is not there counts nothing.
absl::Status AddUsage(Firewall& firewall, const Now& now, const std::vector<Grant*>& grants);

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_USAGE_H_
