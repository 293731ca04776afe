// The gate of a host whose daemon does not run yet, or cannot.

#ifndef POSTERN_AGENT_APP_CLOSE_GATE_H_
#define POSTERN_AGENT_APP_CLOSE_GATE_H_

#include <string>

#include "absl/status/status.h"
#include "agent/enforcer/gatekeeper.h"

namespace postern {

// Makes the gate that agent.yaml at `config_path` asks for, without any grant,
// unless one stands. A host that enforced last keeps its gate closed; where the
// file cannot be read, the gate that was in force last is made again, or a closed
// one with the defaults.
absl::Status CloseGateAtBoot(const std::string& config_path);

// For a start whose agent.yaml is refused: the same, but where the file cannot be read
// and no gate is known, as right after an installation, nothing is closed.
absl::Status CloseGateOfFailedStart(const std::string& config_path);

// Makes `gate` where none stands, and says so in the journal.
absl::Status CloseAndTell(Firewall& firewall, Sessions& sessions, const GateOptions& gate);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_CLOSE_GATE_H_
