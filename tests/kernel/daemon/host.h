// A host with posternd, and this process beside it as all of its clients, in
// network namespaces of their own.
//
//   posternd 192.0.2.1 ---- 192.0.2.2 this process, with 10.0.0.0/8 behind it

#ifndef POSTERN_TESTS_KERNEL_DAEMON_HOST_H_
#define POSTERN_TESTS_KERNEL_DAEMON_HOST_H_

#include <grpcpp/grpcpp.h>
#include <postern/v1/agent.grpc.pb.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/firewall/nft/nft_firewall.h"
#include "common/fd.h"
#include "tests/kernel/daemon/calls.h"
#include "tests/kernel/namespace.h"
#include "tests/kernel/process.h"
#include "tests/support/certificates.h"
#include "tests/support/temporary_directory.h"

namespace postern {

inline constexpr char kHostAddress[] = "192.0.2.1";
inline constexpr uint16_t kAgentPort = 7443;
inline constexpr char kControllerSan[] = "spiffe://example.org/postern/controller";

// What must not happen is waited for this long.
inline constexpr absl::Duration kSilence = absl::Milliseconds(150);

class DaemonHost {
 public:
  // Moves the calling thread, the main one, to the clients' network namespace and
  // to a mount namespace, before gRPC starts threads of its own. One at a time.
  static absl::StatusOr<std::unique_ptr<DaemonHost>> Create();
  DaemonHost(const DaemonHost&) = delete;
  DaemonHost& operator=(const DaemonHost&) = delete;
  ~DaemonHost();

  // ---- The daemon ----
  // Puts `yaml` over the configuration that each host begins with: the local
  // socket, and TLS on kAgentPort.
  void Configure(const std::string& yaml) const;
  // Starts it and waits until it is ready.
  absl::Status Start();
  // Starts it with more arguments, and does not wait.
  absl::Status Launch(const std::vector<std::string>& arguments = {});
  // Waits until somebody listens on the local socket.
  absl::Status AwaitAnswer() const;
  bool Answers() const;
  // Waits until its log holds `text`.
  absl::Status AwaitLog(const std::string& text) const;
  Process& daemon() const { return *daemon_; }

  // ---- Clients, each with a connection of its own ----
  std::unique_ptr<v1::AgentService::Stub> Local() const;
  std::shared_ptr<grpc::Channel> RemoteChannel() const;
  std::unique_ptr<v1::AgentService::Stub> Remote() const {
    return v1::AgentService::NewStub(RemoteChannel());
  }

  // ---- Packets ----
  // Whether a datagram from `source`, an address of 10.0.0.0/8, reaches `port`.
  bool Admits(const std::string& source, uint16_t port) const;
  // A socket of this process's side, bound to `source`, or of the host's.
  static absl::StatusOr<Fd> ClientSocket(int type, const std::string& source);
  absl::StatusOr<Fd> HostSocket(int type, uint16_t port) const;
  // An open TCP connection.
  struct Session {
    Fd client;
    Fd host;
    // Whether what the client sends arrives.
    bool Carries() const;
  };
  absl::StatusOr<Session> OpenSession(const std::string& source, uint16_t port) const;

  // ---- The kernel ----
  NftFirewall& firewall() const { return *firewall_; }

  const Namespace& network() const { return *network_; }
  const TemporaryDirectory& files() const { return files_; }
  std::string config_path() const { return files_.Path("agent.yaml"); }
  std::string state_dir() const { return files_.Path("state"); }
  std::string socket_path() const { return files_.Path("agent.sock"); }

 private:
  DaemonHost();
  absl::Status MakeNetwork();
  void WriteFiles();

  const TemporaryDirectory files_;
  const TestAuthority authority_{"agents"};
  Identity controller_;
  std::unique_ptr<Namespace> network_;
  // This side's end of the cable.
  std::string cable_;
  std::unique_ptr<NftFirewall> firewall_;
  std::unique_ptr<Process> daemon_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_DAEMON_HOST_H_
