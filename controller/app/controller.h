// The daemon: its parts, and how they need one another.

#ifndef POSTERN_CONTROLLER_APP_CONTROLLER_H_
#define POSTERN_CONTROLLER_APP_CONTROLLER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "controller/config/config.h"

namespace postern::controller {

// Runs until SIGTERM or SIGINT.
absl::Status RunController(const Config& config);

// Makes a bearer token for `principal` in the store, and gives its secret; for
// whoever may read and write the state folder, on this host.
absl::StatusOr<std::string> MakeToken(const Config& config, const std::string& principal,
                                      absl::Duration lifetime);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_APP_CONTROLLER_H_
