// posternd's life: start-up as a list of steps, the event loop, the end.

#ifndef POSTERN_AGENT_APP_AGENT_H_
#define POSTERN_AGENT_APP_AGENT_H_

#include <string>

#include "absl/status/status.h"
#include "agent/config/config.h"

namespace postern {

// Runs until SIGTERM or SIGINT, and then returns OK; the gate stays closed and
// live grants stay with the kernel. `config_path` is read again on SIGHUP. An
// error means that the agent could not start, or could not go on.
absl::Status RunAgent(Config config, const std::string& config_path);

}  // namespace postern

#endif  // POSTERN_AGENT_APP_AGENT_H_
