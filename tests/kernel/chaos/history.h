// What clients were told and what packets met, written down while the daemon is
// killed again and again, and judged afterwards.

#ifndef POSTERN_TESTS_KERNEL_CHAOS_HISTORY_H_
#define POSTERN_TESTS_KERNEL_CHAOS_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"

namespace postern::chaos {

struct Span {
  BootTime from;
  BootTime to;
};

// A call whose outcome is not known, because the daemon died over it.
enum class Pending : uint8_t { kNone, kCreate, kExtend, kMove, kRevoke };

// Where a grant was for a while.
struct Place {
  size_t slot = 0;
  // When packets may pass because of it: from the request to its end.
  Span may;
  // When packets must pass: what the client has been told and not taken back.
  std::vector<Span> must;
};

// One grant as its client knows it.
struct Story {
  std::string id;
  // The last one is where it is, or where a pending call may have moved it.
  std::vector<Place> places;
  Pending pending = Pending::kNone;
  bool acknowledged = false;
  bool revoked = false;
  bool ended = false;
  // It turned out that it was never made.
  bool never = false;
  // The acknowledged end, and by how much a pending call may have moved it.
  absl::Time end;
  absl::Duration may_be_later;
};

// One packet that would open a flow.
struct Probe {
  // Whose grants would admit it; empty where no grant could.
  std::optional<size_t> slot;
  BootTime sent;
  // Passed: when that was seen. Otherwise: up to when it would have been.
  BootTime judged;
  bool passed = false;
};

struct Verdict {
  size_t probes = 0;
  size_t passed = 0;
  // Without a grant that could have admitted it.
  size_t admitted_wrongly = 0;
  // In spite of an acknowledged grant that was live all the time.
  size_t refused_wrongly = 0;
  // The first of each, in words.
  std::string example;
};

class History {
 public:
  explicit History(size_t slots) : slots_(slots) {}

  // ---- A client's calls. `story` is one of Begin's.
  Story* Begin(std::string id, size_t slot, BootTime sent);
  // The daemon answered with the grant live until `end`.
  void Live(Story& story, absl::Time end);
  void ExtendSent(Story& story, absl::Duration by);
  void MoveSent(Story& story, size_t slot);
  // It has turned out whether it was moved. Before Live.
  void Moved(Story& story, bool was_moved);
  void RevokeSent(Story& story);
  void Revoked(Story& story);
  // It ran out at `end`.
  void Ended(Story& story, absl::Time end);
  void Never(Story& story);

  // All stories so far; none begins or changes while `f` looks.
  template <typename F>
  void Read(F f) {
    const std::lock_guard lock(mutex_);
    f(static_cast<const std::deque<Story>&>(stories_));
  }

  Verdict Judge(const std::vector<Probe>& probes);

 private:
  BootTime ToBootTime(absl::Time time) const;

  const size_t slots_;
  const SystemClock clock_;
  std::mutex mutex_;
  // Stable addresses.
  std::deque<Story> stories_;
};

}  // namespace postern::chaos

#endif  // POSTERN_TESTS_KERNEL_CHAOS_HISTORY_H_
