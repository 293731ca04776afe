// One running gRPC server, fed with connections that somebody else accepts.

#ifndef POSTERN_AGENT_RPC_GRPC_SERVER_H_
#define POSTERN_AGENT_RPC_GRPC_SERVER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "agent/rpc/answered_calls.h"
#include "agent/rpc/api.h"
#include "agent/rpc/connections.h"
#include "agent/rpc/settings.h"
#include "agent/rpc/sockets.h"
#include "agent/rpc/watch.h"
#include "common/tls/certificates.h"

namespace postern {

class GrpcServer {
 public:
  struct Parts {
    AgentApi& api;
    Watchers& watchers;
    const SharedSettings& settings;
    // Where the connections that are adopted have been counted.
    ConnectionTable& connections;
    AnsweredCallCounts& answered;
    // Null: the local socket's server, without TLS and with reflection.
    CertificateSource* certificates = nullptr;
  };

  // Starts gRPC and its threads, which takes about a millisecond. `parts` are
  // borrowed and must outlive the server.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Parts& parts);

  // Ends all calls with UNAVAILABLE and closes all connections, soon also when the
  // other side does not help. gRPC's threads end with the last server.
  virtual ~GrpcServer() = default;

  // Serves `connection`, which came in on `listener`. One thread.
  virtual void Adopt(Fd connection, int listener) = 0;

  // Whether any call is open. Any thread.
  virtual bool HasCalls() const = 0;

  // Ends the streams of peers that the settings know no more. Any thread.
  virtual void RecheckPeers() = 0;
};

// Sends what gRPC logs as an error to our log, and drops the rest and what
// protobuf says of bad messages, which their senders are told. Once, before the
// first server.
void RouteGrpcLog();

// From now on gRPC's threads stay until the process ends, where servers are
// running: stopping them may take 10 seconds.
void KeepGrpcRunning();

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_GRPC_SERVER_H_
