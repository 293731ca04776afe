// What waits for the store, away from the event loop.

#ifndef POSTERN_CONTROLLER_APP_BACKGROUND_H_
#define POSTERN_CONTROLLER_APP_BACKGROUND_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/statusor.h"
#include "common/fd.h"
#include "common/systemd/event_loop.h"

namespace postern::controller {

// A thread that does one thing at a time. Used by the loop's thread.
class Background {
 public:
  // `loop` outlives it, and runs no more once it is gone.
  static absl::StatusOr<std::unique_ptr<Background>> Start(EventLoop& loop);
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  // Waits for what is being done; what comes after that is not called any more.
  ~Background();

  // Has the thread do `work`, and then the loop `after`. Not to be called between
  // the two.
  void Do(std::function<void()> work, std::function<void()> after);

 private:
  explicit Background(Fd done) : done_(std::move(done)) {}
  void Run();
  void OnDone();

  const Fd done_;
  // Of the loop's thread.
  std::function<void()> after_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> work_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_APP_BACKGROUND_H_
