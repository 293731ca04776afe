// The gate that was in force last: what a boot closes when agent.yaml cannot be
// read, and what a host keeps closed that enforces against its agent.yaml.

#ifndef POSTERN_AGENT_CONFIG_LAST_GATE_H_
#define POSTERN_AGENT_CONFIG_LAST_GATE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/config/config.h"

namespace postern {

// Writes the mode and the guard of `config` to a file in its state_dir, all or
// nothing and durable. Of the rest of `config` the file says nothing.
absl::Status SaveLastGate(const Config& config);

// What SaveLastGate wrote to `state_dir`; the rest has its defaults. NOT_FOUND
// where it never did.
absl::StatusOr<Config> ReadLastGate(const std::string& state_dir);

}  // namespace postern

#endif  // POSTERN_AGENT_CONFIG_LAST_GATE_H_
