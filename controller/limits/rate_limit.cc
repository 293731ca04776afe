#include "controller/limits/rate_limit.h"

#include <algorithm>

namespace postern::controller {

absl::Duration RateLimit::Take(const std::string& name, BootTime now) {
  const std::lock_guard lock(mutex_);
  if (buckets_.size() >= most_names_ && !buckets_.contains(name)) Forget(now);
  Bucket& bucket = buckets_.try_emplace(name, Bucket{.tokens = burst_, .at = now}).first->second;
  const double passed = absl::ToDoubleSeconds(now - bucket.at);
  bucket.tokens = std::min(burst_, bucket.tokens + passed * per_second_);
  bucket.at = now;
  if (bucket.tokens >= 1) {
    bucket.tokens -= 1;
    return absl::ZeroDuration();
  }
  return absl::Seconds((1 - bucket.tokens) / per_second_);
}

// A bucket that is full again says nothing; where none is, the oldest goes.
void RateLimit::Forget(BootTime now) {
  std::erase_if(buckets_, [&](const auto& entry) {
    const Bucket& bucket = entry.second;
    return bucket.tokens + absl::ToDoubleSeconds(now - bucket.at) * per_second_ >= burst_;
  });
  if (buckets_.size() < most_names_) return;
  buckets_.erase(
      std::min_element(buckets_.begin(), buckets_.end(),
                       [](const auto& a, const auto& b) { return a.second.at < b.second.at; }));
}

}  // namespace postern::controller
