// Just-in-time policies: which ports of which VMs may be asked for, from where
// and for how long.

#ifndef POSTERN_CONTROLLER_DOMAIN_POLICY_H_
#define POSTERN_CONTROLLER_DOMAIN_POLICY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/prefix.h"
#include "controller/domain/resource_id.h"

namespace postern::controller {

enum class RuleProtocol : uint8_t { kTcp, kUdp, kAny };

// What becomes of sessions at a grant's end; the agent's own default where a
// policy does not say.
enum class PolicyOnExpiry : uint8_t { kUnset, kKeep, kCut, kReset };

// Sources as Azure's clients write them.
struct Sources {
  // Empty: "*", any source of either family.
  std::vector<Prefix> prefixes = {};
  // Whether they came as a list, to be answered as one.
  bool listed = false;

  bool any() const { return prefixes.empty(); }
  // Whether one of `prefixes` holds all of `prefix`.
  bool Contains(const Prefix& prefix) const;
  friend bool operator==(const Sources&, const Sources&) = default;
};

struct PortRule {
  uint16_t number = 0;
  RuleProtocol protocol = RuleProtocol::kAny;
  // The longest that a request may ask for: 5 minutes to a day.
  absl::Duration max_duration = {};
  Sources allowed_sources = {};
  friend bool operator==(const PortRule&, const PortRule&) = default;
};

// What a VM is enabled with where nobody says otherwise, as Azure has it: SSH, RDP and
// WinRM, each from anywhere for three hours at most.
std::vector<PortRule> RecommendedPorts();

struct PolicyVm {
  VmId id = {};
  std::vector<PortRule> ports = {};
  // As given; only shown.
  std::string public_ip_address = {};
};

// What Postern adds to Azure's policies.
struct PolicyAdditions {
  PolicyOnExpiry on_expiry = PolicyOnExpiry::kUnset;
  bool justification_required = false;
  // How many others have to approve a request, and the role that they need.
  // 0: nobody.
  int approvals = 0;
  std::string approver_role = {};
  friend bool operator==(const PolicyAdditions&, const PolicyAdditions&) = default;
};

struct Policy {
  PolicyId id = {};
  std::vector<PolicyVm> vms = {};
  PolicyAdditions additions = {};
  // What ETag tells: the number of the audit's row of its last change, so that one which
  // is made again after it was deleted has another.
  int64_t version = 0;
};

inline constexpr absl::Duration kShortestMaximum = absl::Minutes(5);
inline constexpr absl::Duration kLongestMaximum = absl::Hours(24);
inline constexpr size_t kMaxPolicyVms = 1000;
inline constexpr size_t kMaxPolicyPorts = 64;
inline constexpr size_t kMaxRuleSources = 64;

// Whether the policy can stand: something in it, nothing twice, everything
// within its bounds, the VMs of the policy's own group. INVALID_ARGUMENT naming the part.
absl::Status CheckPolicy(const Policy& policy);

// The part of `policy` about `vm`; nullptr when there is none.
const PolicyVm* FindVm(const Policy& policy, const VmId& vm);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_DOMAIN_POLICY_H_
