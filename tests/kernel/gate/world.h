// A guarded host, a friend and a stranger, each in a namespace of its own, and
// real packets between them.

#ifndef POSTERN_TESTS_KERNEL_GATE_WORLD_H_
#define POSTERN_TESTS_KERNEL_GATE_WORLD_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/firewall/nft/nft_firewall.h"
#include "agent/firewall/nft/watcher.h"
#include "agent/sessions/kernel_sessions.h"
#include "agent/store/sqlite_store.h"
#include "common/clock.h"
#include "tests/kernel/namespace.h"
#include "tests/support/grants.h"

namespace postern {

// A file descriptor that closes itself.
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
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The host's addresses, towards the friend and towards the stranger.
inline constexpr char kHost4[] = "192.0.2.1";
inline constexpr char kHost6[] = "2001:db8:1::1";
inline constexpr char kHostToStranger4[] = "198.51.100.1";
inline constexpr char kHostToStranger6[] = "2001:db8:2::1";
inline constexpr char kFriend4[] = "192.0.2.7";
inline constexpr char kFriend6[] = "2001:db8:1::7";
inline constexpr char kStranger4[] = "198.51.100.9";
inline constexpr char kStranger6[] = "2001:db8:2::9";

// How long a packet that is dropped is waited for.
inline constexpr absl::Duration kPatience = absl::Milliseconds(150);
// How long one that must come is waited for.
inline constexpr absl::Duration kLongPatience = absl::Seconds(5);

// Two ends of one TCP connection.
struct Session {
  Fd client;
  Fd server;
};

class GateWorld : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Starts the gate in the host's namespace, over what is there already.
  void StartGate();
  // Hears what others did to the table since the last call, as the daemon's loop
  // does; whether there was something. Waits for it up to `patience`.
  bool HearOfTable(absl::Duration patience = absl::ZeroDuration());
  // The daemon is gone; the kernel keeps what it has.
  void KillGate();

  // ---- Grants ----
  absl::StatusOr<Grant> Do(std::variant<CreateGrant, ExtendGrant, MoveGrant, RevokeGrant> change);
  Grant Allow(int id, absl::string_view source, Port port, absl::Duration duration,
              OnExpiry on_expiry = OnExpiry::kKeep);
  void Extend(int id, absl::Duration by);
  void Move(int id, absl::string_view to);
  void Revoke(int id, bool keep_sessions = false);
  // Waits for the end of `grant`, and lets the daemon do what it does then.
  void WaitForEnd(const Grant& grant, bool daemon_alive = true);

  // ---- Packets ----
  // A listener of the host, for both families.
  void Listen(uint16_t port);
  // A socket of `where` (SOCK_STREAM or SOCK_DGRAM) that does not block.
  static Fd Bind(const Namespace& where, absl::string_view address, uint16_t port, int type);
  // Connects from `from`; no descriptor when nothing answers within `patience`.
  Fd Connect(const Namespace& from, absl::string_view to, uint16_t port,
             absl::Duration patience = kPatience);
  // Connects a socket that is there; false when nothing answers.
  static bool Connect(const Fd& fd, absl::string_view to, uint16_t port,
                      absl::Duration patience = kLongPatience);
  bool TcpPasses(const Namespace& from, absl::string_view to, uint16_t port,
                 absl::Duration patience = kPatience);
  // Sends a datagram of `size` bytes to a receiver of the host.
  bool UdpPasses(const Namespace& from, absl::string_view to, uint16_t port, size_t size = 8,
                 absl::Duration patience = kPatience);
  // Sends a datagram as `source`, an IPv4 address of the namespace that the
  // calling thread is in.
  static void SendFrom(const Fd& fd, absl::string_view source, absl::string_view to, uint16_t port);
  // The next connection, which its client may know of before the listener does.
  static Fd Accept(const Fd& listener);
  // A connection with the host's end accepted.
  Session Open(const Namespace& from, absl::string_view to, uint16_t port);
  // Whether a byte that one end sends reaches the other.
  static bool Flows(const Fd& from, const Fd& to, absl::Duration patience = kPatience);

  // Accepts and closes what waits, so that no backlog fills.
  void EmptyBacklogs();

  // Runs a program inside `where`.
  static void RunProgram(const Namespace& where, std::vector<std::string> arguments);
  // Runs nft(8) with a script inside `where`.
  static void Nft(const Namespace& where, const std::string& script);

  GatekeeperOptions options_;
  SystemClock clock_;
  std::unique_ptr<Namespace> host_;
  std::unique_ptr<Namespace> friend_;
  std::unique_ptr<Namespace> stranger_;
  std::string directory_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<NftFirewall> firewall_;
  // Whether StartGate uses the kernel's protection of tables, if it has it.
  bool protect_ = true;
  std::unique_ptr<nft::Watcher> watcher_;
  std::unique_ptr<KernelSessions> sessions_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  std::vector<std::pair<uint16_t, Fd>> listeners_;
};

// For reading and writing on a connection that no test has closed.
std::string ReadSome(const Fd& fd, absl::Duration patience);

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_GATE_WORLD_H_
