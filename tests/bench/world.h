// The bench's network: a host with the agent, another with the floor's server,
// and this process, which is the controller of both.
//
//   agent 192.0.2.1 ---- 192.0.2.2 controller 198.51.100.2 ---- 198.51.100.1 floor
//   agent 203.0.113.1 -- 203.0.113.2 visitor, with 10.0.0.0/8 behind it

#ifndef POSTERN_TESTS_BENCH_WORLD_H_
#define POSTERN_TESTS_BENCH_WORLD_H_

#include <grpcpp/grpcpp.h>
#include <postern/v1/agent.grpc.pb.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/kernel/namespace.h"
#include "tests/kernel/process.h"
#include "tests/support/certificates.h"

namespace postern::bench {

inline constexpr char kAgentAddress[] = "192.0.2.1";
inline constexpr char kFloorAddress[] = "198.51.100.1";
inline constexpr char kAgentToVisitors[] = "203.0.113.1";

// One mutual TLS connection.
class Client {
 public:
  explicit Client(std::shared_ptr<grpc::Channel> channel)
      : stub_(v1::AgentService::NewStub(channel)) {}

  absl::StatusOr<v1::Grant> Create(const v1::CreateGrantRequest& request);
  absl::Status Revoke(const std::string& id, bool keep_sessions);

 private:
  std::unique_ptr<v1::AgentService::Stub> stub_;
};

// A grant to a source that has none yet: an hour of 22/tcp.
v1::CreateGrantRequest NewGrant();

class World {
 public:
  // Moves the calling thread, the main one, to the controller's namespace:
  // before gRPC starts threads of its own. Files go to `directory`.
  static absl::StatusOr<std::unique_ptr<World>> Create(const std::string& directory,
                                                       const std::string& posternd);

  // An agent that serves. `name` is new; its ledger begins with `live_grants`.
  absl::StatusOr<std::unique_ptr<Process>> StartAgent(const Namespace& where,
                                                      const std::string& name, int live_grants);
  absl::StatusOr<std::unique_ptr<Process>> StartEcho();

  // Opens a connection of its own, and waits until it stands.
  absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address);

  const Namespace& agent() const { return *agent_; }
  const Namespace& floor() const { return *floor_; }
  const Namespace& visitor() const { return *visitor_; }
  // A path in the bench's directory.
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

 private:
  World(std::string directory, std::string posternd)
      : directory_(std::move(directory)), posternd_(std::move(posternd)), authority_("bench") {}

  absl::Status MakeNetwork();
  absl::Status MakeCertificates();

  const std::string directory_;
  const std::string posternd_;
  const TestAuthority authority_;
  Identity controller_identity_;
  std::unique_ptr<Namespace> agent_;
  std::unique_ptr<Namespace> floor_;
  std::unique_ptr<Namespace> controller_;
  std::unique_ptr<Namespace> visitor_;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_WORLD_H_
