// How long something took, each time it was done.

#ifndef POSTERN_COMMON_LATENCY_HISTOGRAM_H_
#define POSTERN_COMMON_LATENCY_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace postern {

// Used by one thread.
class LatencyHistogram {
 public:
  // The upper bounds of the buckets, in seconds, inclusive. A write to the kernel
  // takes tens of microseconds, one to a slow disk tenths of a second.
  static constexpr std::array<double, 14> kBounds = {
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};

  void Observe(absl::Duration took);

  // For each bound, how many took at most that and more than the bound before;
  // and as the last one, how many took longer than all.
  const std::array<uint64_t, kBounds.size() + 1>& counts() const { return counts_; }
  absl::Duration sum() const { return sum_; }

 private:
  std::array<uint64_t, kBounds.size() + 1> counts_{};
  absl::Duration sum_;
};

}  // namespace postern

#endif  // POSTERN_COMMON_LATENCY_HISTOGRAM_H_
