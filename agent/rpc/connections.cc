#include "agent/rpc/connections.h"

#include <sys/stat.h>

#include <algorithm>

namespace postern {
namespace {

// One customer has a whole /64 of IPv6 (RFC 6177), and one address of IPv4: no
// IPv4 address has more bits than this.
constexpr int kSourceBits = 64;

}  // namespace

bool ConnectionTable::Admit(int fd, const std::optional<Address>& source) {
  struct stat now {};
  if (fstat(fd, &now) != 0) return false;
  // Whoever had this number before has closed it.
  connections_.erase(fd);
  // A system call for each is made only when the count, which may hold some that
  // are gone, says that there are too many.
  if (!Fits(source)) Prune();
  if (!Fits(source)) return false;
  connections_[fd] = {.device = now.st_dev, .inode = now.st_ino, .source = source};
  return true;
}

size_t ConnectionTable::CountLive() {
  Prune();
  return connections_.size();
}

bool ConnectionTable::Fits(const std::optional<Address>& source) const {
  if (connections_.size() >= limits_.total) return false;
  if (!source) return true;
  const auto same = std::count_if(connections_.begin(), connections_.end(), [&](const auto& entry) {
    return entry.second.source &&
           Masked(*entry.second.source, kSourceBits) == Masked(*source, kSourceBits);
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

}  // namespace postern
