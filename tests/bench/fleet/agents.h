// Agents without a VM: real streams over mutual TLS, each with a certificate of its
// own, that report at once that whatever is wanted is applied.

#ifndef POSTERN_TESTS_BENCH_FLEET_AGENTS_H_
#define POSTERN_TESTS_BENCH_FLEET_AGENTS_H_

#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::bench {

// What Enroll gives; PEM.
struct AgentIdentity {
  std::string name = {};
  std::string certificate = {};
  std::string key = {};
  std::string authorities = {};
};

// Enrols agents of these names at `address`, some at a time.
absl::StatusOr<std::vector<AgentIdentity>> EnrollAll(const std::string& address,
                                                     const std::string& ca,
                                                     const std::string& join_token,
                                                     const std::vector<std::string>& names);

class Agents {
 public:
  Agents(std::string address, std::vector<AgentIdentity> identities);
  Agents(const Agents&) = delete;
  Agents& operator=(const Agents&) = delete;
  ~Agents();

  // Dials for the agents `first` to `end`, and again after each loss as posternd
  // does: 0.5 to 1 s later, then after twice as long.
  void Attach(size_t first, size_t end);

  // Agents whose stream stands and whose report of the state wanted first is sent.
  size_t in_sync() const;
  // Waits until there are `count`.
  absl::Status AwaitInSync(size_t count, absl::Duration patience);
  // Streams that ended, and how the latest one did.
  std::string Losses() const;

 private:
  class Stream;
  struct Agent {
    AgentIdentity identity;
    absl::Duration pause = absl::Seconds(1);
    std::unique_ptr<Stream> stream;
  };

  void DialAll();
  void Dial(size_t index);
  void OnSynced();
  void OnDone(size_t index, bool was_synced, const std::string& how);

  const std::string address_;
  std::vector<Agent> agents_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // When to dial for whom.
  std::multimap<absl::Time, size_t> due_;
  // For the dialler to delete: gRPC 1.51 joins its threads with the last channel, which
  // none of them may be the one to destroy.
  std::vector<std::unique_ptr<Stream>> done_;
  size_t in_sync_ = 0;
  size_t streams_ = 0;
  size_t losses_ = 0;
  std::string last_loss_;
  bool stopping_ = false;
  std::thread dialler_;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_FLEET_AGENTS_H_
