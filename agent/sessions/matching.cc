#include "agent/sessions/matching.h"

namespace postern {
namespace {

Prefix PrefixOf(const Address& address, uint8_t length) {
  return Prefix{.address = Masked(address, length), .length = length};
}

}  // namespace

void PrefixIndex::Insert(const Prefix& prefix) {
  lengths_.emplace(prefix.family(), prefix.length);
  prefixes_.insert(prefix);
}

bool PrefixIndex::Contains(const Address& address) const {
  for (const auto& [family, length] : lengths_) {
    if (family == address.family && prefixes_.contains(PrefixOf(address, length))) return true;
  }
  return false;
}

EndedKeys::EndedKeys(const std::vector<EndedGrant>& ended) {
  for (const EndedGrant& grant : ended) {
    const bool keep = grant.admission == Admission::kKeep;
    for (const AccessKey& key : grant.keys) {
      Admitted& admitted = keys_[key];
      (keep ? admitted.by_keep : admitted.by_cut) = true;
      lengths_.emplace(key.source.family(), key.source.length);
      services_.insert({.family = key.source.family(), .protocol = key.protocol, .port = key.port});
      if (keep && key.protocol == Protocol::kTcp) keep_ports_.insert(key.port);
    }
  }
}

EndedKeys::Admitted EndedKeys::Find(const Address& source, Protocol protocol, uint16_t port) const {
  Admitted found;
  if (!services_.contains({.family = source.family, .protocol = protocol, .port = port})) {
    return found;
  }
  for (const auto& [family, length] : lengths_) {
    if (family != source.family) continue;
    const auto it =
        keys_.find({.source = PrefixOf(source, length), .protocol = protocol, .port = port});
    if (it == keys_.end()) continue;
    found.by_keep |= it->second.by_keep;
    found.by_cut |= it->second.by_cut;
  }
  return found;
}

FlowAction Matching::Judge(const TrackedFlow& flow) {
  const EndedKeys::Admitted admitted =
      ended_.Find(flow.sent.remote, flow.protocol, flow.sent.local_port);
  if (!admitted.by_keep && !admitted.by_cut) return FlowAction::kLeave;
  const FlowAction action = Decide(flow, admitted);
  if (flow.protocol == Protocol::kTcp) {
    const bool ends = action == FlowAction::kEnd;
    tracked_[flow.served] = ends;
    if (ends) ended_ports_.insert(flow.served.local_port);
  }
  return action;
}

FlowAction Matching::Decide(const TrackedFlow& flow, EndedKeys::Admitted admitted) const {
  if (!(flow.cut ? admitted.by_cut : admitted.by_keep)) return FlowAction::kLeave;
  // The gate guards packets that come to this host from outside: neither what
  // this host routes on nor what it sends to itself was admitted by a grant.
  if (!local_.Contains(flow.sent.local) || local_.Contains(flow.sent.remote)) {
    return FlowAction::kLeave;
  }
  if (flow.protocol == Protocol::kTcp && spared_.contains(flow.served)) return FlowAction::kLeave;
  switch (coverage_(flow.sent.remote, flow.protocol, flow.sent.local_port)) {
    case Coverage::kKeep:
      return FlowAction::kLeave;
    case Coverage::kCut:
      return flow.cut ? FlowAction::kLeave : FlowAction::kMark;
    case Coverage::kNone:
      break;
  }
  return FlowAction::kEnd;
}

std::vector<uint16_t> Matching::SocketPorts() const {
  std::set<uint16_t> ports = ended_ports_;
  ports.insert(ended_.keep_ports().begin(), ended_.keep_ports().end());
  return {ports.begin(), ports.end()};
}

SocketAction Matching::JudgeSocket(const Flow& socket) const {
  const auto it = tracked_.find(socket);
  if (it != tracked_.end()) return it->second ? SocketAction::kDestroy : SocketAction::kLeave;

  if (!ended_.Find(socket.remote, Protocol::kTcp, socket.local_port).by_keep ||
      local_.Contains(socket.remote) || spared_.contains(socket) ||
      coverage_(socket.remote, Protocol::kTcp, socket.local_port) != Coverage::kNone) {
    return SocketAction::kLeave;
  }
  return SocketAction::kDestroyIfUntracked;
}

}  // namespace postern
