// The way from other threads to the one that owns the gate.

#ifndef POSTERN_AGENT_ENFORCER_MAILBOX_H_
#define POSTERN_AGENT_ENFORCER_MAILBOX_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "agent/enforcer/gatekeeper.h"

namespace postern {

// Commands and queries wait here until the gatekeeper's thread, woken by an
// eventfd, takes all of them at once.
class Mailbox {
 public:
  using Query = std::function<void(Gatekeeper&)>;

  // As many as may wait together; Submit and Ask refuse more.
  static constexpr size_t kCapacity = 4096;

  // Makes the eventfd; aborts the program where the kernel has none left.
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. RESOURCE_EXHAUSTED when full, UNAVAILABLE once closed; in both
  // cases `command.done` is not called.
  absl::Status Submit(Command command);
  // Any thread. `query` runs on the gatekeeper's thread, after the commands that
  // wait with it. Errors as for Submit.
  absl::Status Ask(Query query);

  // Readable while something waits.
  int fd() const { return fd_; }

  // The gatekeeper's thread: executes all that waits.
  void Drain(Gatekeeper& gatekeeper);
  // Refuses everything from now on. What waits is still drained.
  void Close();

 private:
  // All with mutex_ held. Whoever fills an empty mailbox wakes the gatekeeper.
  absl::Status Admit() const;
  bool IsEmpty() const;
  void Wake() const;

  int fd_ = -1;
  std::mutex mutex_;
  bool closed_ = false;
  std::vector<Command> commands_;
  std::vector<Query> queries_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_MAILBOX_H_
