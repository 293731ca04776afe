// Where destination NAT on this host leads what a grant opens.

#ifndef POSTERN_AGENT_DOCTOR_MAPPED_PORTS_H_
#define POSTERN_AGENT_DOCTOR_MAPPED_PORTS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "agent/doctor/facts.h"

namespace postern {

// For those of `ports` (guarded, TCP) whose packets come out at another port, of this
// host or of one behind it: that port. The gate judges packets by the port that they
// were sent to. Pure.
std::map<uint16_t, uint16_t> MappedPorts(const HostFacts& facts,
                                         const std::vector<uint16_t>& ports);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_MAPPED_PORTS_H_
