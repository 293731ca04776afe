// What other programs' rules do to the gate. Pure; internal to the doctor.

#ifndef POSTERN_AGENT_DOCTOR_FOREIGN_FINDINGS_H_
#define POSTERN_AGENT_DOCTOR_FOREIGN_FINDINGS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/doctor/diagnose.h"
#include "agent/doctor/traffic.h"
#include "agent/doctor/walk.h"

namespace postern {

// A guarded port that destination NAT leads away, and where to.
struct Published {
  const nft::ForeignTable* table = nullptr;
  Place place = {};
  Family family = Family::kIpv4;
  uint16_t port = 0;
  // Empty: this host, or not known.
  std::optional<Address> to_address = std::nullopt;
  uint16_t to_port = 0;
  bool conditional = false;
};
std::vector<Published> FindPublished(const HostFacts& facts, const Guard& guard);

// "foreign-drop"
void AddDrops(const HostFacts& facts, const Guard& guard, const std::vector<Published>& published,
              std::vector<Finding>& findings);

// "published-port", "side-door", "header-rewrite": a packet comes out at another
// port than the one it was judged by.
void AddDetours(const HostFacts& facts, const Guard& guard, const std::vector<Published>& published,
                std::vector<Finding>& findings);

// "notrack", "conntrack-zone", "flowtable": what connection tracking does not see.
void AddTracking(const HostFacts& facts, const Guard& guard,
                 const std::vector<Published>& published, std::vector<Finding>& findings);

// "firewalld", "ufw", "container-engine".
void AddMakers(const HostFacts& facts, std::vector<Finding>& findings);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_FOREIGN_FINDINGS_H_
