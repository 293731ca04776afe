// How the link fares, for whoever wants to see it.

#ifndef POSTERN_AGENT_LINK_LINK_STATUS_H_
#define POSTERN_AGENT_LINK_LINK_STATUS_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/link/link.h"
#include "common/clock.h"

namespace postern {

// Any thread.
class LinkStatus {
 public:
  // `changed` is called by SetAttached, SetDetached and SetProblem, without a lock.
  // `clock` is borrowed.
  LinkStatus(const Clock& clock, std::function<void()> changed);

  LinkState Read() const;
  bool attached() const;

  void SetAttached();
  void SetDetached(const absl::Status& why);
  void SetProblem(absl::string_view problem);
  // What came of applying a wanted state; `revision` is set where all of it is done.
  // Tells nobody.
  void SetApplied(std::optional<uint64_t> revision, absl::string_view problem);

 private:
  const Clock& clock_;
  const std::function<void()> changed_;
  mutable std::mutex mutex_;
  LinkState state_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_LINK_STATUS_H_
