// posternd's life: start-up as a list of steps, the event loop, the end.

#ifndef POSTERN_AGENT_APP_AGENT_H_
#define POSTERN_AGENT_APP_AGENT_H_

#include <string>

#include "absl/status/status.h"
#include "agent/config/config.h"

namespace postern {

// Makes the gate that agent.yaml at `config_path` asks for, without any grant,
// unless one stands. A host that enforced last keeps its gate closed; where the
// file cannot be read, the gate that was in force last is made again, or a closed
// one with the defaults.
absl::Status CloseGateAtBoot(const std::string& config_path);

// For a start whose agent.yaml is refused: the same, but where the file cannot be read
// and no gate is known, as right after an installation, nothing is closed.
absl::Status CloseGateOfFailedStart(const std::string& config_path);

// Runs until SIGTERM or SIGINT, and then returns OK; the gate stays closed and
// live grants stay with the kernel. `config_path` is read again on SIGHUP. An
// error means that the agent could not start, or could not go on.
absl::Status RunAgent(Config config, const std::string& config_path);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_AGENT_H_
