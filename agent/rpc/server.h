// The gRPC server: the agent's interface on the local socket and, where
// configured, on TCP with mutual TLS.

#ifndef POSTERN_AGENT_RPC_SERVER_H_
#define POSTERN_AGENT_RPC_SERVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/config/config.h"
#include "agent/enforcer/mailbox.h"
#include "agent/grants/audit.h"
#include "agent/rpc/answered_calls.h"

namespace postern {

// Of the stream to a controller.
struct ControllerFacts {
  std::string address;
  bool attached = false;
  absl::Time since;
  // Empty where nothing fails.
  std::string problem;
  uint64_t revision = 0;
};

// What GetStatus tells beyond what the gatekeeper knows.
struct AgentFacts {
  std::string version;
  std::vector<std::string> warnings;
  std::optional<ControllerFacts> controller = {};
};

class RpcServer {
 public:
  // Binds the local socket (removing a stale one) and the TCP address, and is
  // ready to take connections. `mailbox` is borrowed and must outlive the
  // server.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const Config& config, AgentFacts facts,
                                                          Mailbox& mailbox);

  // Ends all calls and connections, and removes the local socket. The event
  // loop's thread; the mailbox need not be drained before or after.
  virtual ~RpcServer() = default;

  // The descriptors for the event loop to watch for reading: the listening
  // sockets, and a timer that runs only while there are connections. The server
  // owns them.
  virtual std::vector<int> listeners() const = 0;
  // Does what waits on one of them. The event loop's thread.
  virtual void Accept(int listener) = 0;

  // What is wrong with the sockets and the certificates now. GetStatus tells it as
  // well. Any thread.
  virtual std::vector<std::string> warnings() const = 0;

  // Takes over what can change while serving: peers, allowed sources, TLS files.
  // Any thread.
  virtual void Reload(const Config& config, AgentFacts facts) = 0;
  // Takes over what GetStatus tells. Any thread.
  virtual void Tell(AgentFacts facts) = 0;

  // Sends `event` to all who watch. Any thread.
  virtual void Announce(const AuditEvent& event) = 0;

  // How the calls ended that came since the start. Any thread.
  virtual std::vector<AnsweredCalls> answered() const = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_SERVER_H_
