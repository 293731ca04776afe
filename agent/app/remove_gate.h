// Taking the gate down when the agent leaves the host.

#ifndef POSTERN_AGENT_APP_REMOVE_GATE_H_
#define POSTERN_AGENT_APP_REMOVE_GATE_H_

#include <string>

#include "absl/status/statusor.h"

namespace postern {

// Removes the gate; false where none stood. FAILED_PRECONDITION while a posternd
// answers on `socket`, which would put it up again; UNAVAILABLE while one owns the
// table. The ledger is left alone.
absl::StatusOr<bool> RemoveGate(const std::string& socket);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_REMOVE_GATE_H_
