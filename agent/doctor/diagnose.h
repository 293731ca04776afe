// From what is known of a host to what would make a grant void or the gate
// pointless. Pure.

#ifndef POSTERN_AGENT_DOCTOR_DIAGNOSE_H_
#define POSTERN_AGENT_DOCTOR_DIAGNOSE_H_

#include <cstdint>
#include <vector>

#include "agent/doctor/facts.h"
#include "agent/doctor/finding.h"

namespace postern {

// What the gate is meant to do.
struct Guard {
  // False: everything is counted and nothing dropped.
  bool enforce = true;
  std::vector<uint16_t> ports = {};
  friend bool operator==(const Guard&, const Guard&) = default;
};

// The worst first; of one severity in a stable order. At most 200.
std::vector<Finding> Diagnose(const HostFacts& facts, const Guard& guard);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_DIAGNOSE_H_
