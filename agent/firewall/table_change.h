// What somebody else did to the gate's table.

#ifndef POSTERN_AGENT_FIREWALL_TABLE_CHANGE_H_
#define POSTERN_AGENT_FIREWALL_TABLE_CHANGE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "common/clock.h"

namespace postern {

// A change of table inet postern that was not made by this daemon.
struct TableChange {
  // As many changes and processes as are kept apart.
  static constexpr size_t kMostWhat = 4;
  static constexpr size_t kMostWho = 3;

  // The kernel could not tell all: anything may have changed.
  bool lost = false;
  // In words, "rule added to chain gate", each once, the first few.
  std::vector<std::string> what;
  // There was more than `what` tells.
  bool more = false;
  // "nft (pid 4711)", as far as the kernel tells.
  std::vector<std::string> who;
  // When the daemon learned of it.
  BootTime noticed;

  void AddWhat(std::string change);
  void AddWho(std::string process);
  // Takes in what came later.
  void Merge(const TableChange& later);

  // "rule added to chain gate, element removed from set keep4_32 and more, by
  // nft (pid 4711)".
  std::string ToString() const;

  friend bool operator==(const TableChange&, const TableChange&) = default;
};

}  // namespace postern

#endif  // POSTERN_AGENT_FIREWALL_TABLE_CHANGE_H_
