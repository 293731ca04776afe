#include "agent/doctor/mapped_ports.h"

#include "agent/doctor/diagnose.h"
#include "agent/doctor/foreign_findings.h"

namespace postern {

std::map<uint16_t, uint16_t> MappedPorts(const HostFacts& facts,
                                         const std::vector<uint16_t>& ports) {
  std::map<uint16_t, uint16_t> mapped;
  for (const Published& one : FindPublished(facts, {.enforce = true, .ports = ports})) {
    // The first rule decides.
    if (one.to_port != one.port) mapped.emplace(one.port, one.to_port);
  }
  return mapped;
}

}  // namespace postern
