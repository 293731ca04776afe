#include "common/systemd/event_loop.h"

#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "common/status.h"

namespace postern {
namespace {

// 0 would mean sd-event's default of 250 ms.
constexpr uint64_t kAccuracyMicroseconds = 1;

void Call(void* callback) { (*static_cast<EventLoop::Callback*>(callback))(); }

absl::Status Checked(int result, absl::string_view context) {
  return result < 0 ? ErrnoStatus(-result, context) : absl::OkStatus();
}

}  // namespace

void EventLoop::Unref::operator()(sd_event* event) const { sd_event_unref(event); }
void EventLoop::Unref::operator()(sd_event_source* source) const {
  sd_event_source_disable_unref(source);
}

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  sd_event* event = nullptr;
  POSTERN_RETURN_IF_ERROR(Checked(sd_event_new(&event), "making the event loop"));
  std::unique_ptr<EventLoop> loop(new EventLoop(event));
  // Pets the service manager's watchdog where WatchdogSec= asks for it.
  POSTERN_RETURN_IF_ERROR(Checked(sd_event_set_watchdog(event, 1), "arming the watchdog"));
  return loop;
}

EventLoop::~EventLoop() = default;

void* EventLoop::Store(Callback callback) {
  callbacks_.push_back(std::make_unique<Callback>(std::move(callback)));
  return callbacks_.back().get();
}

absl::Status EventLoop::Keep(int result, sd_event_source* source) {
  POSTERN_RETURN_IF_ERROR(Checked(result, "adding to the event loop"));
  sources_.emplace_back(source);
  return absl::OkStatus();
}

absl::Status EventLoop::OnReadable(int fd, Callback callback) {
  sd_event_source* source = nullptr;
  const auto handler = [](sd_event_source*, int, uint32_t, void* data) {
    Call(data);
    return 0;
  };
  const int result =
      sd_event_add_io(event_.get(), &source, fd, EPOLLIN, handler, Store(std::move(callback)));
  return Keep(result, source);
}

absl::Status EventLoop::OnSignal(int signal_number, Callback callback) {
  sd_event_source* source = nullptr;
  const auto handler = [](sd_event_source*, const signalfd_siginfo*, void* data) {
    Call(data);
    return 0;
  };
  const int result = sd_event_add_signal(event_.get(), &source, signal_number, handler,
                                         Store(std::move(callback)));
  return Keep(result, source);
}

absl::Status EventLoop::OnAlarm(Callback callback) {
  sd_event_source* source = nullptr;
  const auto handler = [](sd_event_source*, uint64_t, void* data) {
    Call(data);
    return 0;
  };
  POSTERN_RETURN_IF_ERROR(
      Checked(sd_event_add_time(event_.get(), &source, CLOCK_BOOTTIME, UINT64_MAX,
                                kAccuracyMicroseconds, handler, Store(std::move(callback))),
              "adding the alarm to the event loop"));
  alarm_.reset(source);
  return Checked(sd_event_source_set_enabled(source, SD_EVENT_OFF), "disarming the alarm");
}

absl::Status EventLoop::SetAlarm(std::optional<BootTime> at) {
  if (!at) {
    return Checked(sd_event_source_set_enabled(alarm_.get(), SD_EVENT_OFF), "disarming the alarm");
  }
  // Rounded up: an alarm before its time would find nothing to do.
  const int64_t microseconds =
      absl::ToInt64Microseconds(absl::Ceil(at->since_boot(), absl::Microseconds(1)));
  POSTERN_RETURN_IF_ERROR(
      Checked(sd_event_source_set_time(alarm_.get(),
                                       static_cast<uint64_t>(std::max<int64_t>(microseconds, 1))),
              "setting the alarm"));
  return Checked(sd_event_source_set_enabled(alarm_.get(), SD_EVENT_ONESHOT), "arming the alarm");
}

absl::Status EventLoop::Run() {
  return Checked(sd_event_loop(event_.get()), "running the event loop");
}

void EventLoop::Exit() { sd_event_exit(event_.get(), 0); }

}  // namespace postern
