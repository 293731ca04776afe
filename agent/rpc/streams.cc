#include "agent/rpc/streams.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {

StreamTable::Place::~Place() { table_.Leave(peer_); }

absl::StatusOr<std::unique_ptr<StreamTable::Place>> StreamTable::Take(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  POSTERN_RETURN_IF_ERROR(CheckRoom(peer));
  ++by_peer_[peer];
  if (!peer.empty()) ++with_role_;
  return std::unique_ptr<Place>(new Place(*this, peer));
}

absl::Status StreamTable::CheckRoom(const std::string& peer) const {
  const auto found = by_peer_.find(peer);
  const size_t held = found == by_peer_.end() ? 0 : found->second;
  if (peer.empty()) {
    if (held < limits_.without_role) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat(held,
                     " streams of peers without a role are open already, the most for all of "
                     "these together; end one of them, or give this peer a role "
                     "(listen.peers in the agent's agent.yaml)"));
  }
  if (held >= limits_.per_peer) {
    return absl::ResourceExhaustedError(
        absl::StrCat(Printable(peer), " has ", held,
                     " streams open already, the most for one peer; end one of them"));
  }
  if (with_role_ >= limits_.total) {
    return absl::ResourceExhaustedError(
        absl::StrCat(with_role_,
                     " streams are open already, the most for all peers together; end "
                     "one of them, or ask on the agent's host, where places are kept"));
  }
  return absl::OkStatus();
}

void StreamTable::Leave(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  const auto found = by_peer_.find(peer);
  if (--found->second == 0) by_peer_.erase(found);
  if (!peer.empty()) --with_role_;
}

}  // namespace postern
