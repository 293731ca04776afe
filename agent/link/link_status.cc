#include "agent/link/link_status.h"

namespace postern {

LinkStatus::LinkStatus(const Clock& clock, std::function<void()> changed)
    : clock_(clock), changed_(std::move(changed)) {
  state_.since = clock_.Read().wall;
  state_.problem = "it is being dialled";
}

LinkState LinkStatus::Read() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool LinkStatus::attached() const {
  const std::lock_guard lock(mutex_);
  return state_.attached;
}

void LinkStatus::SetAttached() {
  {
    const std::lock_guard lock(mutex_);
    if (state_.attached) return;
    state_.attached = true;
    state_.since = clock_.Read().wall;
    state_.problem.clear();
  }
  changed_();
}

void LinkStatus::SetDetached(const absl::Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (state_.attached) state_.since = clock_.Read().wall;
    state_.attached = false;
    state_.problem = std::string(why.message());
  }
  changed_();
}

void LinkStatus::SetProblem(absl::string_view problem) {
  {
    const std::lock_guard lock(mutex_);
    state_.problem = std::string(problem);
  }
  changed_();
}

void LinkStatus::SetApplied(std::optional<uint64_t> revision, absl::string_view problem) {
  const std::lock_guard lock(mutex_);
  if (revision) state_.revision = *revision;
  state_.problem = std::string(problem);
}

}  // namespace postern
