// Runs seeds of the simulation.
//
//   simulation_test [--first-seed N] [--seeds N] [--steps N]
//   simulation_test --seed N        one seed, with its trace
//   simulation_test --expect-violation [...]   passes when a seed fails

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <optional>

#include "tests/simulation/world.h"

namespace postern::simulation {
namespace {

struct Flags {
  uint64_t first_seed = 1;
  uint64_t seeds = 20'000;
  std::optional<uint64_t> seed;
  int steps = 40;
  bool expect_violation = false;
};

Flags flags;

void PrintTrace(const Outcome& outcome) {
  for (const std::string& line : outcome.trace) std::cout << line << '\n';
}

// The first seed that breaks an invariant.
std::optional<uint64_t> FirstFailure() {
  for (uint64_t seed = flags.first_seed; seed < flags.first_seed + flags.seeds; ++seed) {
    if (!RunSeed(seed, flags.steps, false).violation.empty()) return seed;
  }
  return std::nullopt;
}

// The fewest steps with which the seed still fails.
int FewestSteps(uint64_t seed) {
  for (int steps = 0; steps < flags.steps; ++steps) {
    if (!RunSeed(seed, steps, false).violation.empty()) return steps;
  }
  return flags.steps;
}

TEST(Simulation, HoldsTheInvariants) {
  if (flags.seed) {
    const Outcome outcome = RunSeed(*flags.seed, flags.steps, true);
    PrintTrace(outcome);
    EXPECT_EQ(outcome.violation, "");
    return;
  }
  const std::optional<uint64_t> failed = FirstFailure();
  if (!failed) {
    EXPECT_FALSE(flags.expect_violation)
        << "none of " << flags.seeds << " seeds found the planted bug";
    return;
  }
  const int steps = FewestSteps(*failed);
  const Outcome outcome = RunSeed(*failed, steps, true);
  PrintTrace(outcome);
  std::cout << "seed " << *failed << ": " << outcome.violation
            << "\nreplay: simulation_test --seed " << *failed << " --steps " << steps << '\n';
  EXPECT_TRUE(flags.expect_violation) << "seed " << *failed << ": " << outcome.violation;
}

}  // namespace
}  // namespace postern::simulation

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  postern::simulation::Flags& flags = postern::simulation::flags;
  CLI::App app("Runs seeds of the simulation");
  app.add_option("--first-seed", flags.first_seed, "The first of them");
  app.add_option("--seeds", flags.seeds, "How many");
  app.add_option("--seed", flags.seed, "This one only, with its trace");
  app.add_option("--steps", flags.steps, "Steps of each run");
  app.add_flag("--expect-violation", flags.expect_violation, "Pass when a seed fails");
  CLI11_PARSE(app, argc, argv);
  return RUN_ALL_TESTS();
}
