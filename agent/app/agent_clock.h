// The machine's clocks, and who is asked whether they are right.

#ifndef POSTERN_AGENT_APP_AGENT_CLOCK_H_
#define POSTERN_AGENT_APP_AGENT_CLOCK_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"

struct sd_bus;
struct sd_bus_message;
struct sd_bus_slot;
struct sd_event;

namespace postern {

// Under systemd's ProtectClock= the kernel does not tell whether the clock is
// synchronised; systemd's services do. IsSynchronised is for the loop's thread.
class AgentClock final : public Clock {
 public:
  struct Sources {
    std::function<bool()> kernel = [] { return SystemClock().IsSynchronised(); };
    // Exists once systemd-timesyncd has set the clock.
    std::string timesyncd = "/run/systemd/timesync/synchronized";
    // Where systemd-timedated answers, which asks the kernel: whatever sets the clock.
    std::string bus = "unix:path=/run/dbus/system_bus_socket";
  };

  // `loop` hears timedated's answers. It is borrowed.
  explicit AgentClock(sd_event* loop) : AgentClock(loop, Sources()) {}
  AgentClock(sd_event* loop, Sources sources);
  ~AgentClock() override;

  Now Read() const override { return system_.Read(); }
  std::string BootId() const override { return system_.BootId(); }
  // Waits for nobody: timedated is asked for the next time, at most once a second,
  // and may have to be started first.
  bool IsSynchronised() const override;

 private:
  class Question;

  const SystemClock system_;
  sd_event* const loop_;
  const Sources sources_;
  mutable bool timedated_says_so_ = false;
  mutable std::optional<BootTime> asked_at_;
  mutable std::unique_ptr<Question> question_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_APP_AGENT_CLOCK_H_
