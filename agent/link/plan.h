// What has to be done so that this VM holds what its controller wants. Pure.

#ifndef POSTERN_AGENT_LINK_PLAN_H_
#define POSTERN_AGENT_LINK_PLAN_H_

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/grant.h"
#include "postern/v1/controller.pb.h"

namespace postern {

// Why, and how, a grant that is no longer wanted ends.
struct Withdrawal {
  std::string reason = {};
  bool keep_sessions = false;
  // A newer grant takes its place.
  bool superseded = false;
};

// A WantedState that has been looked at.
struct WantedGrants {
  uint64_t revision = 0;
  // `duration` is what remained when the message came; `not_after` is set, until
  // the plan has turned both into what is left by this VM's clock.
  std::vector<GrantRequest> grants = {};
  std::map<std::string, Withdrawal> withdrawn = {};
};

// INVALID_ARGUMENT for what no controller sends.
absl::StatusOr<WantedGrants> ReadWanted(const v1::WantedState& state);

// What this VM holds.
struct HeldGrants {
  // Live grants that a controller made, by their ids.
  std::map<std::string, Grant> live = {};
  // Of these, those that are not in force for now, with the reason.
  std::map<std::string, std::string> withheld = {};
  // Of those that the state names, wanted or withdrawn, the ones that are known and not
  // among these: they ended, or somebody else made them.
  std::map<std::string, Grant> others = {};
};

using Step = std::variant<CreateGrant, ExtendGrant, MoveGrant, RevokeGrant>;

struct Plan {
  // In the order in which they are to be done: what opens comes before what
  // closes, so that a grant that takes another's place leaves no gap.
  std::vector<Step> steps = {};
  // Grants that are as wanted, or over: there is nothing to do but to tell.
  std::vector<Grant> settled = {};
  // Why wanted grants cannot be made, by their ids.
  std::map<std::string, std::string> refused = {};
  // Grants that become as they should be by themselves, and have to be seen again, by
  // their ids; with what is amiss until then, where something is.
  std::map<std::string, std::string> waiting = {};
};

// `now` is this VM's wall clock.
Plan MakePlan(const WantedGrants& wanted, const HeldGrants& held, absl::Time now);

// With what reason a grant is revoked that was moved to sources that this VM refuses.
std::string MoveRefusedReason(absl::string_view why);

// What a controller is told of a grant; of one that was not made. A grant that a
// controller revoked with MoveRefusedReason() is told as refused, not as ended.
v1::GrantReport ReportOf(const Grant& grant);
v1::GrantReport RefusalOf(const std::string& id, absl::string_view reason);

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_PLAN_H_
