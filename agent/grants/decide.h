// The verdicts: may this change be made, and what would the grant be afterwards?
//
// Pure functions of the ledger, the request, the limits and the time. They
// change nothing. Refusals carry:
//   INVALID_ARGUMENT     wrong on its face (a FieldError)
//   FAILED_PRECONDITION  beyond the limits, or the grant has ended
//   ALREADY_EXISTS       the id is taken by a grant with other content
//   RESOURCE_EXHAUSTED   too many live grants

#ifndef POSTERN_AGENT_GRANTS_DECIDE_H_
#define POSTERN_AGENT_GRANTS_DECIDE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/grants/grant.h"
#include "agent/grants/limits.h"
#include "common/clock.h"

namespace postern {

// What a decision may look at beyond the request.
struct DecisionContext {
  const Limits& limits;
  Now now;
  size_t live_grants = 0;
};

// Checks the request's form (bounds, UTF-8, empty lists, ports) without looking
// at the limits or the time.
absl::Status CheckForm(const GrantRequest& request);

// The grant that `request` would become, active from now on. sequence, boot_id
// and usage are left for the caller.
absl::StatusOr<Grant> DecideCreate(const GrantRequest& request, absl::string_view actor,
                                   const DecisionContext& context);

// A request whose id is known already: OK when it asks for what `existing` was
// created with, ALREADY_EXISTS otherwise.
absl::Status DecideRepeat(const GrantRequest& request, const Grant& existing);

// `grant` with `by` added to its end.
absl::StatusOr<Grant> DecideExtend(const Grant& grant, absl::Duration by,
                                   const DecisionContext& context);

// `grant` with other sources; it remembers those that it leaves. FAILED_PRECONDITION
// where these would be more than kMaxEarlierSources.
absl::StatusOr<Grant> DecideMove(const Grant& grant, const std::vector<Prefix>& sources,
                                 const DecisionContext& context);

// `grant`, ended now because somebody withdrew it.
Grant Revoked(const Grant& grant, absl::string_view cause, const Now& now);

// `grant`, ended because its end has come. Its recorded end is the end itself,
// however late it is noticed.
Grant Expired(const Grant& grant);

}  // namespace postern

#endif  // POSTERN_AGENT_GRANTS_DECIDE_H_
