#include "common/latency_histogram.h"

#include <algorithm>

namespace postern {

void LatencyHistogram::Observe(absl::Duration took) {
  const auto* const bound =
      std::lower_bound(kBounds.begin(), kBounds.end(), absl::ToDoubleSeconds(took));
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += took;
}

}  // namespace postern
