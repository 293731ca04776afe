// Clients that ask for grants, extend, move and revoke them, and ask again for what a
// dying daemon left unanswered.

#ifndef POSTERN_TESTS_KERNEL_CHAOS_CLIENTS_H_
#define POSTERN_TESTS_KERNEL_CHAOS_CLIENTS_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/chaos/history.h"
#include "tests/kernel/daemon/host.h"

namespace postern::chaos {

struct ClientCounts {
  uint64_t acknowledged = 0;
  uint64_t extended = 0;
  uint64_t moved = 0;
  uint64_t revoked = 0;
  // Calls that the daemon's death left unanswered.
  uint64_t unanswered = 0;
  // Of these, what turned out not to have happened.
  uint64_t undone = 0;
};

class Clients {
 public:
  // Each has its own slots of `slots`, and begins with the first Resume.
  Clients(const DaemonHost& host, History& history, size_t slots, uint64_t seed);
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  ~Clients();

  // There is a new daemon, which answers.
  void Resume();
  // Waits until each client has found that the daemon is dead.
  void AwaitAllParked();
  // Ends them: each finds out what became of its last call first.
  void Finish();

  ClientCounts counts();
  // What a client was told that it should not have been.
  std::vector<std::string> complaints();

 private:
  class Client;

  // Waits for a daemon after the one with `number`; false at the end.
  bool AwaitNext(uint64_t& number);
  bool finishing();

  const DaemonHost& host_;
  History& history_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t daemon_ = 0;
  size_t parked_ = 0;
  bool finishing_ = false;
  ClientCounts counts_;
  std::vector<std::string> complaints_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::thread> threads_;
};

}  // namespace postern::chaos

#endif  // POSTERN_TESTS_KERNEL_CHAOS_CLIENTS_H_
