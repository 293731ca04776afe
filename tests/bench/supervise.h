// Measuring in a process of its own.

#ifndef POSTERN_TESTS_BENCH_SUPERVISE_H_
#define POSTERN_TESTS_BENCH_SUPERVISE_H_

#include <functional>
#include <string>

namespace postern::bench {

// Runs `measure` with a new folder under `parent`, in a process of its own: whatever
// becomes of it, what it leaves is cleared away here. Gives its exit status; signals
// that ask for an end are passed on.
int Supervise(const std::string& parent,
              const std::function<int(const std::string& directory)>& measure);

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_SUPERVISE_H_
