// Where the agent tells what it counts of its own work: a local socket that says
// it once to whoever connects, and reads nothing.

#ifndef POSTERN_AGENT_RPC_METRICS_SOCKET_H_
#define POSTERN_AGENT_RPC_METRICS_SOCKET_H_

#include <postern/v1/metrics.pb.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/rpc/answered_calls.h"
#include "agent/rpc/sockets.h"

namespace postern {

// Used by one thread, the event loop's.
class MetricsSocket {
 public:
  // Listens on `path`, for every user of this host. `read` is called for what to
  // tell, at most once a second.
  static absl::StatusOr<std::unique_ptr<MetricsSocket>> Listen(const std::string& path,
                                                               std::function<v1::Metrics()> read);

  // Readable while somebody waits.
  int fd() const { return listener_.fd(); }

  // Tells those who wait, as many as one turn of the event loop has room for, and
  // hangs up. What one of them does not take holds nobody up.
  void Serve();

 private:
  MetricsSocket(LocalListener listener, std::function<v1::Metrics()> read)
      : listener_(std::move(listener)), read_(std::move(read)) {}
  const std::string& Message();

  const LocalListener listener_;
  const std::function<v1::Metrics()> read_;
  SpareDescriptor spare_;
  std::string message_;
  std::optional<std::chrono::steady_clock::time_point> read_at_;
};

// What there is to tell of `gatekeeper`, and of the calls it was asked by.
v1::Metrics MetricsOf(Gatekeeper& gatekeeper, const std::vector<AnsweredCalls>& answered);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_METRICS_SOCKET_H_
