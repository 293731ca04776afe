#include "agent/link/end_queue.h"

#include <algorithm>
#include <utility>

namespace postern {
namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(2);

}  // namespace

void EndQueue::Add(std::string id) {
  if (ids_.size() >= kCapacity) ids_.pop_front();
  ids_.push_back(std::move(id));
}

BootTime EndQueue::due() const {
  return ids_.empty() ? BootTime(absl::InfiniteDuration()) : not_before_;
}

void EndQueue::Remove(const std::string& id) {
  pause_ = absl::ZeroDuration();
  // Newer ones may have pushed it out.
  if (!ids_.empty() && ids_.front() == id) ids_.pop_front();
}

void EndQueue::Defer(const std::string& id, BootTime now) {
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
  not_before_ = now + pause_;
  if (ids_.empty() || ids_.front() != id) return;
  // `id` may be Next() itself.
  std::rotate(ids_.begin(), ids_.begin() + 1, ids_.end());
}

}  // namespace postern
