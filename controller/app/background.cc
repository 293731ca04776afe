#include "controller/app/background.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

#include "common/status.h"

namespace postern::controller {

absl::StatusOr<std::unique_ptr<Background>> Background::Start(EventLoop& loop) {
  Fd done(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (done.get() < 0) return ErrnoStatus(errno, "making an eventfd");
  std::unique_ptr<Background> background(new Background(std::move(done)));
  Background* const raw = background.get();
  POSTERN_RETURN_IF_ERROR(loop.OnReadable(raw->done_.get(), [raw] { raw->OnDone(); }));
  background->thread_ = std::thread([raw] { raw->Run(); });
  return background;
}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Background::Do(std::function<void()> work, std::function<void()> after) {
  after_ = std::move(after);
  {
    const std::lock_guard lock(mutex_);
    work_ = std::move(work);
  }
  changed_.notify_one();
}

void Background::Run() {
  while (true) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || work_ != nullptr; });
      if (stopping_) return;
      work = std::exchange(work_, nullptr);
    }
    work();
    eventfd_write(done_.get(), 1);
  }
}

void Background::OnDone() {
  eventfd_t count = 0;
  if (eventfd_read(done_.get(), &count) != 0) return;
  // It may ask for the next.
  std::exchange(after_, nullptr)();
}

}  // namespace postern::controller
