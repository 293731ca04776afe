// Packets to the host all along: datagrams and connections, from sources that
// may have a grant and from others.

#ifndef POSTERN_TESTS_KERNEL_CHAOS_PROBES_H_
#define POSTERN_TESTS_KERNEL_CHAOS_PROBES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/kernel/chaos/history.h"
#include "tests/kernel/daemon/host.h"

namespace postern::chaos {

// Grants are for kGrantedPort only.
inline constexpr uint16_t kGrantedPort = 22;
inline constexpr uint16_t kOtherPort = 3389;

// The prefix that the grants of a slot are for, and an address in it.
std::string PrefixOf(size_t slot);
std::string AddressOf(size_t slot);

class Probers {
 public:
  // From the main thread. They send until Stop.
  static absl::StatusOr<std::unique_ptr<Probers>> Start(const DaemonHost& host, size_t slots,
                                                        uint64_t seed);
  Probers(const Probers&) = delete;
  Probers& operator=(const Probers&) = delete;
  ~Probers();

  // Ends the probing; all that was sent, with what became of it.
  std::vector<Probe> Stop();
  // Datagrams that this process was too slow to read: the probes say nothing.
  uint64_t overflows() const { return overflows_; }

 private:
  struct Target {
    std::optional<size_t> slot;
    std::string source;
    uint16_t port;
  };

  explicit Probers(size_t slots) : slots_(slots) {}

  void Join();
  Target Choose(std::mt19937_64& random) const;
  void SendDatagrams(uint64_t seed);
  void ReceiveDatagrams();
  void Connect(uint64_t seed, std::vector<Probe>& probes);
  void ConnectSome(std::mt19937_64& random, std::vector<Probe>& probes);
  void Accept();

  const size_t slots_;
  Fd sender_;
  std::vector<Fd> receivers_;
  std::vector<Fd> listeners_;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> all_sent_ = false;
  std::vector<std::thread> senders_;
  std::vector<std::thread> servants_;
  // Each is one thread's until that thread has ended.
  std::vector<Probe> datagrams_;
  std::vector<std::pair<uint32_t, BootTime>> arrived_;
  std::vector<std::vector<Probe>> connections_;
  uint64_t overflows_ = 0;
};

}  // namespace postern::chaos

#endif  // POSTERN_TESTS_KERNEL_CHAOS_PROBES_H_
