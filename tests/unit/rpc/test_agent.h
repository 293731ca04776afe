// An agent in the test's process: a real gatekeeper and gRPC server, with
// everything below and outside them faked.

#ifndef POSTERN_TESTS_UNIT_RPC_TEST_AGENT_H_
#define POSTERN_TESTS_UNIT_RPC_TEST_AGENT_H_

#include <grpcpp/grpcpp.h>
#include <postern/v1/agent.grpc.pb.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/config/config.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/enforcer/mailbox.h"
#include "agent/rpc/server.h"
#include "agent/rpc/sockets.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/certificates.h"
#include "tests/support/temporary_directory.h"

namespace postern {

inline constexpr char kControllerSan[] = "spiffe://example.org/postern/controller";
inline constexpr char kOperatorSan[] = "operator.example.org";
inline constexpr char kViewerSan[] = "spiffe://example.org/postern/viewer";

// The name in the agent's certificate.
inline constexpr char kAgentName[] = "agent.test";

class TestAgent {
 public:
  TestAgent();
  TestAgent(const TestAgent&) = delete;
  TestAgent& operator=(const TestAgent&) = delete;
  ~TestAgent();

  // Runs `f` on the event loop's thread and waits for it.
  void OnLoop(const std::function<void(Gatekeeper&)>& f);
  // The loop does nothing until ResumeLoop.
  void PauseLoop();
  void ResumeLoop();
  // Ends the loop and destroys the server, as the daemon does when it stops.
  void Stop();

  // A client with a certificate for `san` ("URI:..." or "DNS:...").
  Identity Client(const std::string& san) const { return authority.Issue({.names = {san}}); }
  // A channel of its own connection, trusting the agent's authority.
  std::shared_ptr<grpc::Channel> Remote(const Identity& client) const;
  std::shared_ptr<grpc::Channel> Remote(const Identity& client, const std::string& ca) const;
  std::shared_ptr<grpc::Channel> Local() const;
  std::unique_ptr<v1::AgentService::Stub> RemoteStub(const std::string& san) const {
    return v1::AgentService::NewStub(Remote(Client(san)));
  }
  std::unique_ptr<v1::AgentService::Stub> LocalStub() const {
    return v1::AgentService::NewStub(Local());
  }
  // "127.0.0.1:PORT".
  std::string remote_address() const;
  uint16_t remote_port() const { return remote_port_; }

  // Grants with `justification`, made by the gatekeeper itself.
  void MakeGrants(int count, const std::string& justification);

  // The packet path refused three packets from `source` to port 22, the last of
  // them so long ago.
  void Knock(absl::string_view source, absl::Duration ago);

  // How many events the audit holds: what a refused call must not change.
  size_t EventCount();

  TemporaryDirectory directory;
  TestAuthority authority{"agents"};
  FakeClock clock;
  FakeStore store;
  FakeFirewall firewall{clock};
  FakeSessions sessions;
  Config config;
  // Set by the constructor; used by the loop's thread.
  std::unique_ptr<RpcServer> server;

 private:
  void Loop();
  std::vector<int> Watched() const;

  Mailbox mailbox_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  Fd stop_;
  uint16_t remote_port_ = 0;
  std::function<void()> resume_;
  std::thread loop_;
};

// A request that the agent takes.
v1::CreateGrantRequest NewGrant();

struct Answer {
  grpc::Status status;
  v1::Grant grant;
};
Answer Create(v1::AgentService::Stub& stub, const v1::CreateGrantRequest& request);

grpc::Status GetStatus(v1::AgentService::Stub& stub, v1::GetStatusResponse* response = nullptr);

// A connection without gRPC; none when nobody listens.
Fd ConnectTo(const std::string& path);
Fd ConnectTo(uint16_t loopback_port);

// A call's context that gives up in the end, so that no test hangs.
std::unique_ptr<grpc::ClientContext> NewContext();

}  // namespace postern

#endif  // POSTERN_TESTS_UNIT_RPC_TEST_AGENT_H_
