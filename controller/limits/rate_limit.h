// How often somebody may call: a bucket of tokens for each.

#ifndef POSTERN_CONTROLLER_LIMITS_RATE_LIMIT_H_
#define POSTERN_CONTROLLER_LIMITS_RATE_LIMIT_H_

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"

namespace postern::controller {

// Any thread.
class RateLimit {
 public:
  // `burst` calls at once and `per_second` in the long run, for each name; at most
  // `most_names` are remembered, those that called last.
  RateLimit(double per_second, double burst, size_t most_names)
      : per_second_(per_second), burst_(burst), most_names_(most_names) {}

  // Zero when `name` may call now, otherwise how long to wait.
  absl::Duration Take(const std::string& name, BootTime now);

 private:
  struct Bucket {
    double tokens = 0;
    BootTime at;
  };
  void Forget(BootTime now);

  const double per_second_;
  const double burst_;
  const size_t most_names_;
  std::mutex mutex_;
  std::map<std::string, Bucket> buckets_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_LIMITS_RATE_LIMIT_H_
