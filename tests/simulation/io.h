// Every door to the outside in one place: where a run's faults strike.

#ifndef POSTERN_TESTS_SIMULATION_IO_H_
#define POSTERN_TESTS_SIMULATION_IO_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/simulation/clock.h"
#include "tests/support/random.h"

namespace postern::simulation {

// Thrown where the daemon is killed.
struct Crash {};

// Thrown where the product breaks an invariant.
struct Violation {
  std::string what;
};

enum class Fault {
  kCrashBefore,
  kCrashAfter,
  // Done, and the caller gets an error.
  kAnswerLost,
  // Not done, and the caller gets an error.
  kRefused,
};

// A fault that strikes the I/O with this number, counted from 0 within a step.
struct PlannedFault {
  Fault fault;
  int at;
};

// What is left of an I/O once its fault, if it has one, is known.
struct Fate {
  bool crash_after = false;
  bool answer_lost = false;
  bool refused = false;
};

// One thread; the clock and the random numbers are borrowed.
class Io {
 public:
  Io(SimulatedClock& clock, Random& random) : clock_(clock), random_(random) {}

  // Starts a step.
  void Plan(std::vector<PlannedFault> faults) {
    faults_ = std::move(faults);
    count_ = 0;
  }

  // Before an I/O that changes something: throws Crash where one is planned.
  Fate Begin(absl::string_view what);
  // After it. Throws Crash where one is planned, and what the observer throws.
  void End(const Fate& fate, absl::string_view outcome);

  // Called after each I/O.
  void Observe(std::function<void()> observer) { observer_ = std::move(observer); }
  // Where the story of the present step is told; null: nowhere.
  void TellTo(std::string* story) { story_ = story; }
  void Tell(absl::string_view text);

 private:
  SimulatedClock& clock_;
  Random& random_;
  std::vector<PlannedFault> faults_;
  int count_ = 0;
  std::function<void()> observer_;
  std::string* story_ = nullptr;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_IO_H_
