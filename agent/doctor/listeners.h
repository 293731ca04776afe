// The sockets that serve a port, by the kernel's sock_diag(7).

#ifndef POSTERN_AGENT_DOCTOR_LISTENERS_H_
#define POSTERN_AGENT_DOCTOR_LISTENERS_H_

#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/doctor/facts.h"

namespace postern {

// Those of the calling thread's network namespace on one of `ports`. The process
// is told where this process may look at it.
absl::StatusOr<std::vector<Listener>> ReadListeners(const std::vector<uint16_t>& ports);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_LISTENERS_H_
