// A TCP connection between two descriptors, as ssh's ProxyCommand is one.

#ifndef POSTERN_CLI_CONTROLLER_RELAY_H_
#define POSTERN_CLI_CONTROLLER_RELAY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern {

// A connected socket, which the caller closes: to the first of the host's addresses
// that answers within `patience`. UNAVAILABLE otherwise.
absl::StatusOr<int> ConnectTo(const std::string& host, uint16_t port, absl::Duration patience);

// Carries `in` to `socket` and `socket` to `out` until the socket's end has come and
// all of it is written. Neither is closed.
absl::Status Relay(int socket, int in, int out);

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_RELAY_H_
