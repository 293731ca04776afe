#include "agent/rpc/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/rpc/api.h"
#include "agent/rpc/connections.h"
#include "agent/rpc/grpc_server.h"
#include "agent/rpc/settings.h"
#include "agent/rpc/sockets.h"
#include "agent/rpc/watch.h"
#include "common/status.h"
#include "common/systemd/log.h"
#include "common/tls/certificates.h"
#include "common/tls/tls_files.h"

namespace postern {
namespace {

constexpr char kGroup[] = "postern";

// Apart, so that remote callers cannot keep the local ones out.
constexpr ConnectionLimits kLocalLimits = {.total = 64, .per_source = 64};
constexpr ConnectionLimits kRemoteLimits = {.total = 256, .per_source = 32};

// Connections taken at once, before the event loop's other work has its turn.
constexpr int kAcceptsPerTurn = 64;

// How often it is looked whether connections are left, and for how many turns in
// a row there must be none before gRPC stops: 12 seconds and more. After a write
// that had to wait, one of gRPC's threads sleeps for up to 10 seconds, and
// stopping gRPC, on the event loop's thread, would wait for it.
constexpr time_t kTendSeconds = 3;
constexpr int kQuietTurns = 5;

// Whether the other side has closed it, while it waited to be accepted. Whoever
// comes after a thousand of these should not wait for gRPC to find that out.
bool HasHungUp(int fd) {
  pollfd now = {.fd = fd, .events = POLLRDHUP, .revents = 0};
  return poll(&now, 1, 0) > 0 && (now.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

// A listening socket and the gRPC server behind it. gRPC's timer threads wake
// twice a second whether there is work or not, so gRPC runs only while there are
// connections.
struct Door {
  Door(int socket, ConnectionLimits limits) : listener(socket), connections(limits) {}

  int listener;
  ConnectionTable connections;
  int quiet_turns = 0;
  // Changed by the event loop's thread alone, and only with servers_mutex_.
  std::unique_ptr<GrpcServer> server;
};

class RpcServerImpl final : public RpcServer {
 public:
  RpcServerImpl(Settings settings, Mailbox& mailbox, LocalListener local)
      : settings_(std::move(settings)),
        local_(std::move(local)),
        watchers_(mailbox),
        api_(mailbox, settings_, [this] { return warnings(); }),
        local_door_(local_.fd(), kLocalLimits) {}
  RpcServerImpl(const RpcServerImpl&) = delete;
  RpcServerImpl& operator=(const RpcServerImpl&) = delete;

  ~RpcServerImpl() override {
    KeepGrpcRunning();
    Stop(local_door_);
    if (remote_door_) Stop(*remote_door_);
  }

  absl::Status Open(const Config& config) {
    timer_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (timer_.get() < 0) return ErrnoStatus(errno, "timerfd_create");
    if (!config.listen) return absl::OkStatus();
    POSTERN_ASSIGN_OR_RETURN(
        certificates_, CertificateSource::Open(config.listen->tls, [](const std::string& why) {
          Log(Priority::kWarning, why);
        }));
    POSTERN_ASSIGN_OR_RETURN(remote_, ListenTcp(config.listen->address, config.listen->port));
    remote_door_.emplace(remote_.get(), kRemoteLimits);
    return absl::OkStatus();
  }

  std::vector<int> listeners() const override {
    std::vector<int> all = {local_.fd(), timer_.get()};
    if (remote_door_) all.push_back(remote_.get());
    return all;
  }

  void Accept(int listener) override {
    if (listener == timer_.get()) return Tend();
    Door& door = listener == local_.fd() ? local_door_ : *remote_door_;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      absl::StatusOr<Accepted> accepted = AcceptOne(listener);
      if (accepted.ok()) {
        Welcome(door, *std::move(accepted));
      } else if (absl::IsResourceExhausted(accepted.status())) {
        if (spare_.TurnAwayOne(listener)) {
          Log(Priority::kWarning, absl::StrCat(accepted.status().message(), "; it was closed"));
        }
        return;
      } else {
        return;
      }
    }
  }

  std::vector<std::string> warnings() const override {
    std::vector<std::string> all;
    if (!local_.warning().empty()) all.push_back(local_.warning());
    if (certificates_ == nullptr) return all;
    if (std::string problem = certificates_->problem(); !problem.empty()) {
      all.push_back(std::move(problem));
    }
    const std::shared_ptr<const Settings> settings = settings_.Get();
    if (!settings->config.listen) return all;
    if (const Address& address = settings->config.listen->address; IsMissing(address)) {
      all.push_back(absl::StrCat("listen.address: no interface of this host has ",
                                 address.ToString(),
                                 " so far, so nobody reaches the agent there; "
                                 "if it is mistyped, mend it and restart the agent"));
    }
    for (std::string& warning : ExpiryWarnings(settings->config.listen->tls, absl::Now())) {
      all.push_back(std::move(warning));
    }
    return all;
  }

  void Reload(const Config& config, AgentFacts facts) override {
    settings_.Set({.config = config, .facts = std::move(facts)});
    if (certificates_ != nullptr && config.listen) certificates_->Use(config.listen->tls);
    const std::lock_guard lock(servers_mutex_);
    if (remote_door_ && remote_door_->server != nullptr) remote_door_->server->RecheckPeers();
  }

  void Tell(AgentFacts facts) override {
    settings_.Set({.config = settings_.Get()->config, .facts = std::move(facts)});
  }

  void Announce(const AuditEvent& event) override { watchers_.Announce(event); }

  std::vector<AnsweredCalls> answered() const override { return answered_.Read(); }

 private:
  bool MayConnect(const Address& source) const {
    if (IsLoopback(source)) return true;
    const std::shared_ptr<const Settings> settings = settings_.Get();
    const auto& listen = settings->config.listen;
    return listen && std::any_of(listen->from.begin(), listen->from.end(),
                                 [&](const Prefix& prefix) { return prefix.Contains(source); });
  }

  // Hands a connection to the door's server, or closes it.
  void Welcome(Door& door, Accepted accepted) {
    if (HasHungUp(accepted.fd.get())) return;
    if (accepted.peer && !MayConnect(accepted.peer->address)) return;
    switch (door.connections.Admit(accepted.fd.get(), accepted.peer)) {
      case ConnectionTable::Admission::kRefused:
        ++turned_away_;
        return;
      case ConnectionTable::Admission::kInPlaceOfAnother:
        ++replaced_;
        break;
      case ConnectionTable::Admission::kAdmitted:
        break;
    }
    if (door.server == nullptr) {
      if (absl::Status status = StartServer(door); !status.ok()) {
        Log(Priority::kError, absl::StrCat("a connection cannot be served: ", status.message()));
        return;
      }
    }
    door.server->Adopt(std::move(accepted.fd), door.listener);
  }

  absl::Status StartServer(Door& door) {
    POSTERN_ASSIGN_OR_RETURN(
        std::unique_ptr<GrpcServer> server,
        GrpcServer::Start({.api = api_,
                           .watchers = watchers_,
                           .settings = settings_,
                           .connections = door.connections,
                           .answered = answered_,
                           .certificates = &door == &local_door_ ? nullptr : certificates_.get()}));
    {
      const std::lock_guard lock(servers_mutex_);
      door.server = std::move(server);
    }
    door.quiet_turns = 0;
    SetTimer(kTendSeconds);
    return absl::OkStatus();
  }

  void Stop(Door& door) {
    std::unique_ptr<GrpcServer> server;
    {
      const std::lock_guard lock(servers_mutex_);
      server = std::move(door.server);
    }
  }

  // Stops the servers that nobody is connected to.
  void Tend() {
    uint64_t expirations = 0;
    [[maybe_unused]] const ssize_t got = read(timer_.get(), &expirations, sizeof expirations);
    if (turned_away_ > 0 || replaced_ > 0) {
      Log(Priority::kWarning,
          absl::StrCat("there were too many connections (", kRemoteLimits.total, " in all and ",
                       kRemoteLimits.per_source, " from one address; ", kLocalLimits.total,
                       " on the local socket): ", replaced_,
                       " on which nothing went on were closed for newcomers, and ", turned_away_,
                       " newcomers at once"));
      turned_away_ = 0;
      replaced_ = 0;
    }
    TendDoor(local_door_);
    if (remote_door_) TendDoor(*remote_door_);
    const bool running =
        local_door_.server != nullptr || (remote_door_ && remote_door_->server != nullptr);
    if (!running) SetTimer(0);
  }

  void TendDoor(Door& door) {
    if (door.server == nullptr) return;
    // A call whose caller has gone may still wait for the gatekeeper.
    const bool quiet = door.connections.CountLive() == 0 && !door.server->HasCalls();
    door.quiet_turns = quiet ? door.quiet_turns + 1 : 0;
    if (door.quiet_turns >= kQuietTurns) Stop(door);
  }

  // Every `seconds`, beginning anew; 0 stops it.
  void SetTimer(time_t seconds) {
    const itimerspec every = {.it_interval = {.tv_sec = seconds, .tv_nsec = 0},
                              .it_value = {.tv_sec = seconds, .tv_nsec = 0}};
    // Fails only for arguments that these are not.
    timerfd_settime(timer_.get(), 0, &every, nullptr);
  }

  SharedSettings settings_;
  const LocalListener local_;
  Fd remote_;
  Fd timer_;
  std::unique_ptr<CertificateSource> certificates_;
  Watchers watchers_;
  AgentApi api_;
  AnsweredCallCounts answered_;
  std::mutex servers_mutex_;
  Door local_door_;
  std::optional<Door> remote_door_;
  SpareDescriptor spare_;
  int turned_away_ = 0;
  int replaced_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const Config& config, AgentFacts facts,
                                                            Mailbox& mailbox) {
  RouteGrpcLog();
  POSTERN_ASSIGN_OR_RETURN(LocalListener local, LocalListener::Listen(config.socket, kGroup));
  auto server = std::make_unique<RpcServerImpl>(
      Settings{.config = config, .facts = std::move(facts)}, mailbox, std::move(local));
  POSTERN_RETURN_IF_ERROR(server->Open(config));
  return server;
}

}  // namespace postern
