// The TCP sockets of this host that wait for connections.

#ifndef POSTERN_CLI_LISTENERS_H_
#define POSTERN_CLI_LISTENERS_H_

#include <cstdint>
#include <istream>
#include <vector>

#include "common/prefix.h"

namespace postern {

struct ListeningSocket {
  Address address;
  uint16_t port = 0;
  friend auto operator<=>(const ListeningSocket&, const ListeningSocket&) = default;
};

// Those in /proc/net/tcp or /proc/net/tcp6 (proc(5)); lines that are none are
// left out.
std::vector<ListeningSocket> ParseListeners(std::istream& table, Family family);

// Those of the calling process' network namespace.
std::vector<ListeningSocket> ReadListeners();

}  // namespace postern

#endif  // POSTERN_CLI_LISTENERS_H_
