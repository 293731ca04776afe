// The grants whose ends a controller is still to be told.

#ifndef POSTERN_AGENT_LINK_END_QUEUE_H_
#define POSTERN_AGENT_LINK_END_QUEUE_H_

#include <deque>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"

namespace postern {

// One thread at a time.
class EndQueue {
 public:
  // As many as wait together; more push the oldest out, which are in the ledger all
  // the same.
  static constexpr size_t kCapacity = 10'000;

  void Add(std::string id);
  // From when on Next() is to be told: never where none waits.
  BootTime due() const;
  // The id that is to be told next; there is one.
  const std::string& Next() const { return ids_.front(); }
  // It is told, or there is nothing to tell.
  void Remove(const std::string& id);
  // It could not be read: the others go first, and all wait for a while, longer each
  // time.
  void Defer(const std::string& id, BootTime now);

 private:
  std::deque<std::string> ids_;
  BootTime not_before_ = BootTime(-absl::InfiniteDuration());
  absl::Duration pause_ = absl::ZeroDuration();
};

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_END_QUEUE_H_
