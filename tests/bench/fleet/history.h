// Past requests, put into a store at once.

#ifndef POSTERN_TESTS_BENCH_FLEET_HISTORY_H_
#define POSTERN_TESTS_BENCH_FLEET_HISTORY_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/bench/fleet/fleet.h"

namespace postern::bench {

// Fills the store of a controller that does not run with `requests` for one port
// each, spread over the VMs and the last `span`, all of them over.
absl::Status FillHistory(const FleetOptions& fleet, size_t vms, size_t requests,
                         absl::Duration span);

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_FLEET_HISTORY_H_
