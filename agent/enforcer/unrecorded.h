// What the store could not take: it is in force, and is written when the store
// takes writes again.

#ifndef POSTERN_AGENT_ENFORCER_UNRECORDED_H_
#define POSTERN_AGENT_ENFORCER_UNRECORDED_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "agent/store/store.h"

namespace postern {

// Bounded by the grants there are: only ends, a lockdown and what a start found
// wait here, never what lets somebody in. Called by one thread.
class Unrecorded {
 public:
  bool empty() const { return writes_.empty(); }
  size_t size() const { return writes_.size(); }

  // `write` is of one grant, or of none.
  void Add(Write write) {
    const std::string id = IdOf(write);
    if (!id.empty()) latest_[id] = writes_.size();
    writes_.push_back(std::move(write));
  }

  // The latest write of the grant `id`; null when none waits. Valid until the
  // next change.
  const Write* Find(absl::string_view id) const {
    const auto it = latest_.find(id);
    return it == latest_.end() ? nullptr : &writes_[it->second];
  }

  // In the order in which they were added.
  std::vector<Write>& writes() { return writes_; }

  void Clear() {
    writes_.clear();
    latest_.clear();
  }

 private:
  static std::string IdOf(const Write& write) {
    if (write.put) return write.put->id;
    return write.erase.value_or("");
  }

  std::vector<Write> writes_;
  absl::flat_hash_map<std::string, size_t> latest_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_UNRECORDED_H_
