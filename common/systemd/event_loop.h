// The daemon's one loop, by sd-event.

#ifndef POSTERN_COMMON_SYSTEMD_EVENT_LOOP_H_
#define POSTERN_COMMON_SYSTEMD_EVENT_LOOP_H_

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"

struct sd_event;
struct sd_event_source;

namespace postern {

// Used by one thread, which runs all callbacks.
class EventLoop {
 public:
  using Callback = std::function<void()>;

  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Calls `callback` while `fd`, which is borrowed, is readable.
  absl::Status OnReadable(int fd, Callback callback);
  // Calls `callback` for `signal_number`, which must be blocked in all threads.
  absl::Status OnSignal(int signal_number, Callback callback);
  // Sets what SetAlarm calls.
  absl::Status OnAlarm(Callback callback);
  // Arms the one alarm on CLOCK_BOOTTIME, to the microsecond; empty disarms it.
  absl::Status SetAlarm(std::optional<BootTime> at);

  // For libraries that bring sources of their own.
  sd_event* native() const { return event_.get(); }

  // Runs until Exit.
  absl::Status Run();
  void Exit();

 private:
  struct Unref {
    void operator()(sd_event* event) const;
    void operator()(sd_event_source* source) const;
  };
  using Source = std::unique_ptr<sd_event_source, Unref>;

  explicit EventLoop(sd_event* event) : event_(event) {}
  absl::Status Keep(int result, sd_event_source* source);
  void* Store(Callback callback);

  std::unique_ptr<sd_event, Unref> event_;
  // Their addresses are the sources' user data.
  std::vector<std::unique_ptr<Callback>> callbacks_;
  std::vector<Source> sources_;
  Source alarm_;
};

}  // namespace postern

#endif  // POSTERN_COMMON_SYSTEMD_EVENT_LOOP_H_
