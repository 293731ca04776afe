// The parts of the bench. Each starts what it needs, adds its figures, and stops
// what it started.

#ifndef POSTERN_TESTS_BENCH_PARTS_H_
#define POSTERN_TESTS_BENCH_PARTS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/bench/figures.h"
#include "tests/bench/world.h"

namespace postern::bench {

struct Plan {
  // Rounds of the latency part, at each number of live grants.
  int calls = 3000;
  std::vector<int> live_grants = {0, 1000, 10'000, 100'000};
  // The throughput part: slices of each server's turn, alternating.
  int slices = 5;
  absl::Duration slice = absl::Seconds(1.5);
  int ends = 200;
  // The agent lets go of what it needs for connections within this time.
  absl::Duration settle = absl::Seconds(25);
  absl::Duration idle = absl::Seconds(60);
};

// One client: the floor's three parts and CreateGrant, in turns.
absl::Status MeasureLatency(World& world, const Plan& plan, Figures& figures);
// 16 clients.
absl::Status MeasureThroughput(World& world, const Plan& plan, Figures& figures);
// When access ends, by packets.
absl::Status MeasureExpiry(World& world, const Plan& plan, Figures& figures);
// Memory after calls, and wake-ups when nobody calls.
absl::Status MeasureIdle(World& world, const Plan& plan, Figures& figures);

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_PARTS_H_
