#include "agent/rpc/connections.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace postern {
namespace {

// One customer has a whole /64 of IPv6 (RFC 6177), and one address of IPv4: no
// IPv4 address has more bits than this.
constexpr int kSourceBits = 64;

// gRPC closes what was told to end within milliseconds. While it has so many to
// close, newcomers are refused.
constexpr size_t kMostEnding = 128;

}  // namespace

ConnectionTable::Call::Call(ConnectionTable& table, const std::optional<Endpoint>& peer)
    : table_(table), connection_(table.BeginCall(peer)) {}

ConnectionTable::Call::~Call() { table_.EndCall(connection_); }

ConnectionTable::Admission ConnectionTable::Admit(int fd, const std::optional<Endpoint>& peer) {
  struct stat now {};
  if (fstat(fd, &now) != 0) return Admission::kRefused;
  Connection connection;
  connection.device = now.st_dev;
  connection.inode = now.st_ino;
  connection.peer = peer;
  if (peer) connection.source = Masked(peer->address, kSourceBits);
  const std::lock_guard lock(mutex_);
  // Whoever had this number before has closed it.
  connections_.erase(fd);
  // A system call for each is made only when the count, which may hold some that
  // are gone, says that there are too many.
  if (!Fits(connection.source)) Prune();
  Admission admission = Admission::kAdmitted;
  while (!Fits(connection.source)) {
    if (!MakeRoom(connection.source)) return Admission::kRefused;
    admission = Admission::kInPlaceOfAnother;
  }
  connection.admitted = ++turn_;
  connections_[fd] = connection;
  return admission;
}

size_t ConnectionTable::CountLive() {
  const std::lock_guard lock(mutex_);
  Prune();
  return connections_.size();
}

bool ConnectionTable::FitsTotal() const {
  const auto open = std::count_if(connections_.begin(), connections_.end(),
                                  [](const auto& entry) { return !entry.second.ending; });
  return static_cast<size_t>(open) < limits_.total;
}

bool ConnectionTable::FitsSource(const std::optional<Address>& source) const {
  if (!source) return true;
  const auto same = std::count_if(connections_.begin(), connections_.end(), [&](const auto& entry) {
    return !entry.second.ending && entry.second.source == source;
  });
  return static_cast<size_t>(same) < limits_.per_source;
}

void ConnectionTable::Prune() {
  std::erase_if(connections_, [](const auto& entry) {
    struct stat now {};
    return fstat(entry.first, &now) != 0 || now.st_dev != entry.second.device ||
           now.st_ino != entry.second.inode;
  });
}

bool ConnectionTable::MakeRoom(const std::optional<Address>& source) {
  const bool only_of_source = !FitsSource(source);
  size_t ending = 0;
  std::map<std::optional<Address>, size_t> strangers;
  for (const auto& [fd, connection] : connections_) {
    if (connection.ending) ++ending;
    if (!connection.ending && connection.used == 0) ++strangers[connection.source];
  }
  if (ending >= kMostEnding) return false;
  const auto rank = [&](const Connection& connection) {
    const size_t of_source = connection.used == 0 ? strangers[connection.source] : 0;
    return std::tuple(connection.used, -static_cast<int64_t>(of_source), connection.admitted);
  };
  auto victim = connections_.end();
  for (auto it = connections_.begin(); it != connections_.end(); ++it) {
    const Connection& connection = it->second;
    if (connection.ending || connection.calls > 0) continue;
    if (only_of_source && connection.source != source) continue;
    if (victim == connections_.end() || rank(connection) < rank(victim->second)) victim = it;
  }
  if (victim == connections_.end()) return false;
  // Pruned just before: the number is still the connection's. gRPC sees the end
  // of its stream, and closes it.
  shutdown(victim->first, SHUT_RDWR);
  victim->second.ending = true;
  return true;
}

uint64_t ConnectionTable::BeginCall(const std::optional<Endpoint>& peer) {
  if (!peer) return 0;
  const std::lock_guard lock(mutex_);
  // Of several, the others are closed: one pair of addresses and ports is one
  // connection at a time.
  Connection* newest = nullptr;
  for (auto& [fd, connection] : connections_) {
    if (connection.peer != peer) continue;
    if (newest == nullptr || newest->admitted < connection.admitted) newest = &connection;
  }
  if (newest == nullptr) return 0;
  newest->used = ++turn_;
  ++newest->calls;
  return newest->admitted;
}

void ConnectionTable::EndCall(uint64_t connection) {
  if (connection == 0) return;
  const std::lock_guard lock(mutex_);
  for (auto& [fd, open] : connections_) {
    if (open.admitted != connection) continue;
    open.used = ++turn_;
    --open.calls;
  }
}

}  // namespace postern
