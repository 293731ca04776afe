#include "agent/rpc/watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "agent/rpc/convert.h"
#include "common/status.h"

namespace postern {
namespace {

StreamSource::Message Serialised(const AuditEvent& event) {
  return std::make_shared<const std::string>(ToProto(event).SerializeAsString());
}

}  // namespace

StreamSource::Next Watch::Take() {
  Next next;
  bool refill = false;
  {
    const std::lock_guard lock(mutex_);
    next.subscribed = subscribed_;
    if (end_) {
      next.end = end_;
    } else if (!queue_.empty()) {
      taken_ = queue_.front().number;
      next.message = std::move(queue_.front().message);
      queue_.pop_front();
    } else if (phase_ == Phase::kBehind) {
      phase_ = Phase::kReading;
      refill = true;
    }
  }
  if (refill) Refill();
  return next;
}

bool Watch::HasEnded() {
  const std::lock_guard lock(mutex_);
  return end_.has_value();
}

void Watch::Refill() {
  const absl::Status asked = mailbox_.Ask([weak = weak_from_this()](Gatekeeper& gatekeeper) {
    if (const std::shared_ptr<Watch> watch = weak.lock()) watch->ReadPage(gatekeeper);
  });
  if (asked.ok()) return;
  const std::lock_guard lock(mutex_);
  end_ = asked;
}

void Watch::ReadPage(Gatekeeper& gatekeeper) {
  {
    const std::lock_guard lock(mutex_);
    absl::Status read = ReadPageLocked(gatekeeper);
    if (!read.ok() && !end_) end_ = std::move(read);
  }
  wake_();
}

absl::Status Watch::ReadPageLocked(Gatekeeper& gatekeeper) {
  if (!subscribed_) {
    const uint64_t newest = gatekeeper.last_audit_number();
    if (after_ > newest) {
      return FieldError("after_number",
                        absl::StrCat(after_, " is ahead of the last event, ", newest));
    }
    queued_ = taken_ = after_ == 0 ? newest : after_;
    subscribed_ = true;
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<AuditEvent> page,
                           gatekeeper.Audit(queued_, absl::InfinitePast(), kPage));
  for (const AuditEvent& event : page) {
    queue_.push_back({.number = event.number, .message = Serialised(event)});
    queued_ = event.number;
  }
  phase_ = page.size() < kPage && offered_ <= queued_ ? Phase::kLive : Phase::kBehind;
  return absl::OkStatus();
}

void Watch::Offer(uint64_t number, const Message& message) {
  bool refill = false;
  {
    const std::lock_guard lock(mutex_);
    offered_ = std::max(offered_, number);
    if (end_ || phase_ != Phase::kLive || number <= queued_) return;
    if (number != queued_ + 1) {
      // Not every event is announced, nor in order; the audit has them all.
      phase_ = queue_.empty() ? Phase::kReading : Phase::kBehind;
      refill = queue_.empty();
    } else if (queue_.size() < kMaxWaiting) {
      queue_.push_back({.number = number, .message = message});
      queued_ = number;
    } else {
      end_ = absl::AbortedError(absl::StrCat("this reader is too slow, ", kMaxWaiting,
                                             " events wait for it; watch again with after_number ",
                                             taken_));
      queue_.clear();
    }
  }
  if (refill) Refill();
  wake_();
}

std::shared_ptr<Watch> Watchers::Add(uint64_t after, std::function<void()> wake) {
  auto watch = std::make_shared<Watch>(mailbox_, after, std::move(wake));
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(watches_, [](const auto& weak) { return weak.expired(); });
    watches_.push_back(watch);
  }
  watch->Begin();
  return watch;
}

std::vector<std::shared_ptr<Watch>> Watchers::Living() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Watch>> living;
  for (const std::weak_ptr<Watch>& weak : watches_) {
    if (std::shared_ptr<Watch> watch = weak.lock()) living.push_back(std::move(watch));
  }
  return living;
}

void Watchers::Announce(const AuditEvent& event) {
  const std::vector<std::shared_ptr<Watch>> living = Living();
  if (living.empty()) return;
  const StreamSource::Message message = Serialised(event);
  for (const std::shared_ptr<Watch>& watch : living) watch->Offer(event.number, message);
}

}  // namespace postern
