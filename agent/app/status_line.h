// What `systemctl status` shows of the agent.

#ifndef POSTERN_AGENT_APP_STATUS_LINE_H_
#define POSTERN_AGENT_APP_STATUS_LINE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/enforcer/gatekeeper.h"

namespace postern {

// "enforcing 4 ports; 3 grants live, next ends 14:05:12Z; drift repaired 0", and
// what `controller` says of the way to it where the agent has one, and what is out of
// the ordinary: a lockdown, an order to enforce that waits for its
// confirmation, withheld grants, a ledger begun anew (`ledger_replaced`), and the
// warnings of `status`. Times are UTC, with their date where it is not that of
// status.now. They are never told as time left: that would be wrong a moment
// later, and the line is made anew only when something happens. Pure.
std::string StatusLine(const GateStatus& status, size_t ports, bool ledger_replaced,
                       absl::string_view controller = "");

}  // namespace postern

#endif  // POSTERN_AGENT_APP_STATUS_LINE_H_
