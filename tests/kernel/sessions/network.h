// A server and its clients in network namespaces of their own, with real TCP
// connections between them.

#ifndef POSTERN_TESTS_KERNEL_SESSIONS_NETWORK_H_
#define POSTERN_TESTS_KERNEL_SESSIONS_NETWORK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/firewall/ruleset.h"
#include "common/prefix.h"
#include "tests/kernel/namespace.h"

namespace postern {

// A file descriptor that is closed with its owner.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// These end the test program where they fail: nothing after them could be
// believed.
std::unique_ptr<Namespace> MakeNamespace();
// Makes a veth pair of this name in both, with these addresses.
void Link(const Namespace& one, const std::vector<std::string>& its_addresses,
          const Namespace& other, const std::vector<std::string>& others_addresses,
          const std::string& name);
// Loads a ruleset by nft(8).
void Nft(const Namespace& where, const std::string& ruleset);
// Has it route between its links.
void Forward(const Namespace& where);

// A TCP connection. Everything waits at most some seconds.
struct Connection {
  Fd client;
  Fd server;
  // As the server's host sees it.
  Flow flow;

  // Whether a byte passes each way.
  bool Lives() const;
  // Whether the client has been told by a reset that it is over.
  bool ClientWasReset() const;
  // Whether the client is reset when it sends.
  bool ClientIsResetOnSending() const;
};

// A socket that listens in `where`.
Fd Listen(const Namespace& where, const Address& address, uint16_t port);
// Connects from `from_port` of `from`, an address of `where`, and accepts on
// `listener`.
Connection Connect(const Namespace& where, const Address& from, uint16_t from_port,
                   const Address& to, uint16_t to_port, const Fd& listener);

// A UDP socket of `where`.
Fd BindUdp(const Namespace& where, const Address& address, uint16_t port);
// Whether a datagram from `client` to that address and port gets to `server`.
bool SendUdp(const Fd& client, const Address& to, uint16_t port, const Fd& server);

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_SESSIONS_NETWORK_H_
