// Which live sessions could not be opened again. Pure.

#ifndef POSTERN_AGENT_ENFORCER_EXPOSURE_H_
#define POSTERN_AGENT_ENFORCER_EXPOSURE_H_

#include <vector>

#include "agent/firewall/builder.h"
#include "agent/sessions/sessions.h"

namespace postern {

// Those of `live`, on the ports of `gate`, that it lets in by no always_allow.
// Grants are not looked at.
std::vector<Flow> ExposedBy(const GateOptions& gate, const LiveFlows& live);

// The same, without those that were so under `before`; none where `after` does not
// enforce.
std::vector<Flow> NewlyExposedBy(const GateOptions& before, const GateOptions& after,
                                 const LiveFlows& live);

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_EXPOSURE_H_
