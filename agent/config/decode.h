// From the tree of agent.yaml to a Config. Pure: reads no file.

#ifndef POSTERN_AGENT_CONFIG_DECODE_H_
#define POSTERN_AGENT_CONFIG_DECODE_H_

#include "absl/status/statusor.h"
#include "agent/config/config.h"
#include "common/config/yaml.h"

namespace postern {

// Reads every key and checks that they fit together. A null root is an empty
// file: all defaults.
absl::StatusOr<Config> Decode(const YamlNode& root);

}  // namespace postern

#endif  // POSTERN_AGENT_CONFIG_DECODE_H_
