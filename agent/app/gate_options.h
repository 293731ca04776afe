// The gate that a configuration asks for.

#ifndef POSTERN_AGENT_APP_GATE_OPTIONS_H_
#define POSTERN_AGENT_APP_GATE_OPTIONS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "agent/config/config.h"
#include "agent/enforcer/gatekeeper.h"

namespace postern {

GatekeeperOptions OptionsOf(const Config& config);

// The gate for the time before the daemon has started, or where it cannot. What
// was closed stays closed: a host may enforce against its agent.yaml (posternctl
// arm), and which it is to be only the daemon can tell.
GateOptions GateBeforeStart(const Config& config);

// The live sessions that could not be opened again once `config` is in force, and
// could under the gate that was in force last; whether a grant covers them is not
// looked at. NOT_FOUND where none was, and an error where it may not be read.
absl::StatusOr<std::vector<Flow>> SessionsToExpose(const Config& config);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_GATE_OPTIONS_H_
