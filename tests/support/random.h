// Random numbers that are the same on every machine.

#ifndef POSTERN_TESTS_SUPPORT_RANDOM_H_
#define POSTERN_TESTS_SUPPORT_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace postern {

// SplitMix64. The standard library's distributions differ between
// implementations, and a seed must replay everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // From 0 to `bound` - 1.
  size_t Below(size_t bound) { return static_cast<size_t>(Next() % bound); }
  bool Chance(size_t percent) { return Below(100) < percent; }
  absl::Duration UpTo(absl::Duration most) {
    return absl::Nanoseconds(
        static_cast<int64_t>(Next() % static_cast<uint64_t>(absl::ToInt64Nanoseconds(most) + 1)));
  }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(from.size())];
  }

 private:
  uint64_t state_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_SUPPORT_RANDOM_H_
