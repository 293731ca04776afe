#include "agent/app/agent.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/app/agent_clock.h"
#include "agent/app/clock_watch.h"
#include "agent/app/close_gate.h"
#include "agent/app/gate_options.h"
#include "agent/app/journal.h"
#include "agent/app/ledger_file.h"
#include "agent/app/status_line.h"
#include "agent/config/last_gate.h"
#include "agent/config/reload.h"
#include "agent/doctor/facts.h"
#include "agent/doctor/mapped_ports.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/enforcer/mailbox.h"
#include "agent/firewall/nft/denied_log.h"
#include "agent/firewall/nft/nft_firewall.h"
#include "agent/firewall/nft/watcher.h"
#include "agent/link/link.h"
#include "agent/rpc/metrics_socket.h"
#include "agent/rpc/server.h"
#include "agent/sessions/kernel_sessions.h"
#include "common/status.h"
#include "common/systemd/event_loop.h"
#include "common/systemd/log.h"
#include "common/systemd/notify.h"
#include "common/version.h"

namespace postern {
namespace {

constexpr size_t kMostSessionsShown = 10;

// The first label of the host's name.
std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "";
  const std::string text(name.data());
  return text.substr(0, text.find('.'));
}

// Signals are taken by the event loop; every thread made later inherits this.
absl::Status BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  const int error = pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (error != 0) return ErrnoStatus(error, "blocking signals");
  // A peer that is gone is told by the write's error.
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return ErrnoStatus(errno, "ignoring SIGPIPE");
  return absl::OkStatus();
}

// The folder of the local socket, such as /run/postern, is gone after a reboot.
absl::Status MakeSocketFolder(const std::string& socket) {
  const std::filesystem::path folder = std::filesystem::path(socket).parent_path();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return ErrnoStatus(error.value(), absl::StrCat("making the socket's folder ", folder.string()));
}

// The running daemon: its parts, in the order in which they need one another.
class Agent {
 public:
  Agent(Config config, std::string config_path)
      : config_(std::move(config)), config_path_(std::move(config_path)) {}

  // Where it fails, a gate stands all the same: the one that stood, or a closed
  // one.
  absl::Status Start() {
    absl::Status status = TakeSteps();
    if (!status.ok() && firewall_ != nullptr && sessions_ != nullptr) {
      const absl::Status closed = CloseAndTell(*firewall_, *sessions_, GateBeforeStart(config_));
      if (!closed.ok()) Log(Priority::kError, std::string(closed.message()));
    }
    return status;
  }

  absl::Status Run() {
    POSTERN_RETURN_IF_ERROR(loop_->Run());
    NotifyStopping();
    mailbox_.Close();
    mailbox_.Drain(*gatekeeper_);
    link_.reset();
    server_.reset();
    gatekeeper_->Stop();
    Log(LineOf(KindOf(AuditKind::kAgentStopped),
               "stopped; the gate stays closed and live grants run to their ends"));
    return failure_;
  }

 private:
  // The start-up, in order. The gate is closed before anybody is served.
  absl::Status TakeSteps() {
    POSTERN_RETURN_IF_ERROR(BlockSignals());
    POSTERN_RETURN_IF_ERROR(OpenParts());
    POSTERN_RETURN_IF_ERROR(gatekeeper_->Start(ledger_replaced_, GateBeforeStart(config_).enforce));
    POSTERN_RETURN_IF_ERROR(MakeSocketFolder(config_.socket));
    POSTERN_ASSIGN_OR_RETURN(server_, RpcServer::Start(config_, Facts(), mailbox_));
    OpenMetrics();
    StartLink();
    POSTERN_RETURN_IF_ERROR(WatchEverything());
    for (const std::string& warning : Facts().warnings) Log(Priority::kWarning, warning);
    for (const std::string& warning : server_->warnings()) Log(Priority::kWarning, warning);
    if (gatekeeper_->enforces()) WarnOf(gatekeeper_->ExposedSessions(OptionsOf(config_)));
    POSTERN_RETURN_IF_ERROR(AfterWork());
    NotifyReady(status_line_);
    Log(LineOf(KindOf(AuditKind::kAgentStarted),
               absl::StrCat("version ", kVersion, ": ", status_line_)));
    return absl::OkStatus();
  }

  absl::Status OpenParts() {
    POSTERN_ASSIGN_OR_RETURN(loop_, EventLoop::Create());
    clock_ = std::make_unique<AgentClock>(loop_->native());
    POSTERN_ASSIGN_OR_RETURN(firewall_, NftFirewall::Open());
    POSTERN_ASSIGN_OR_RETURN(sessions_, KernelSessions::Open());
    // Before the first batch, so that nothing that comes after it is missed.
    POSTERN_ASSIGN_OR_RETURN(watcher_, nft::Watcher::Open(firewall_->port()));
    OpenDeniedLog();
    POSTERN_ASSIGN_OR_RETURN(clock_watch_, ClockWatch::Open());
    POSTERN_ASSIGN_OR_RETURN(OpenedLedger ledger,
                             OpenLedger(config_.state_dir, clock_->Read().wall));
    store_ = std::move(ledger.store);
    ledger_replaced_ = std::move(ledger.replaced);
    gatekeeper_ = std::make_unique<Gatekeeper>(
        OptionsOf(config_),
        Gatekeeper::Collaborators{.clock = *clock_,
                                  .store = *store_,
                                  .firewall = *firewall_,
                                  .sessions = *sessions_,
                                  .announce = [this](const AuditEvent& event) { Announce(event); },
                                  .report =
                                      [](const absl::Status& status) {
                                        Log(Priority::kError, std::string(status.message()));
                                      }});
    return absl::OkStatus();
  }

  // Without it, the kernel remembers whom it refused all the same.
  void OpenDeniedLog() {
    absl::StatusOr<std::unique_ptr<nft::DeniedLog>> log = nft::DeniedLog::Open();
    if (log.ok() && firewall_->capabilities().limits_rates &&
        firewall_->capabilities().logs_packets) {
      denied_log_ = *std::move(log);
      return;
    }
    denied_log_missing_ = absl::StrCat(
        "the log does not tell of new sources that are refused (posternctl denied "
        "does): ",
        log.ok() ? "this kernel has no nft_limit, nft_log or nfnetlink_log"
                 : log.status().message());
  }

  // Without them, the gate does its work all the same.
  void OpenMetrics() {
    if (config_.metrics_socket.empty()) return;
    absl::StatusOr<std::unique_ptr<MetricsSocket>> metrics =
        MetricsSocket::Listen(config_.metrics_socket, [this] { return ReadMetrics(); });
    if (metrics.ok()) {
      metrics_ = *std::move(metrics);
      return;
    }
    metrics_missing_ =
        absl::StrCat("metrics are told to nobody: metrics_", metrics.status().message());
    server_->Reload(config_, Facts());
  }

  void StartLink() {
    if (!config_.controller) return;
    link_ = Link::Start(
        {.controller = *config_.controller,
         .state_dir = config_.state_dir,
         .version = kVersion,
         .name = HostName(),
         .read_mapped =
             [](const std::vector<uint16_t>& ports) { return MappedPorts(ReadHost(ports), ports); },
         .changed =
             [this] {
               // After the link's thread has it: one that is full
               // drains soon, and tells the next change.
               mailbox_.Ask([this](Gatekeeper&) { TellOfLink(); }).IgnoreError();
             }},
        mailbox_, *clock_);
  }

  void TellOfLink() {
    if (link_ == nullptr) return;
    server_->Tell(Facts());
    LinkState state = link_->state();
    if (state.attached == logged_link_.attached && state.problem == logged_link_.problem) return;
    Log(state.problem.empty() ? Priority::kInfo : Priority::kWarning,
        absl::StrCat("the controller at ", config_.controller->address,
                     state.attached ? " is attached" : " is away",
                     state.problem.empty() ? "" : ": ", state.problem));
    logged_link_ = std::move(state);
  }

  v1::Metrics ReadMetrics() {
    v1::Metrics metrics = MetricsOf(*gatekeeper_, server_->answered());
    metrics.set_version(kVersion);
    metrics.set_warnings(metrics.warnings() + Facts().warnings.size() + server_->warnings().size());
    return metrics;
  }

  absl::Status WatchEverything() {
    POSTERN_RETURN_IF_ERROR(loop_->OnReadable(watcher_->fd(), [this] {
      HearOfTable();
      Settle();
    }));
    POSTERN_RETURN_IF_ERROR(loop_->OnAlarm([this] {
      HearOfTable();
      gatekeeper_->OnAlarm();
      if (link_ != nullptr) link_->OnAlarm();
      Settle();
    }));
    POSTERN_RETURN_IF_ERROR(loop_->OnReadable(mailbox_.fd(), [this] {
      HearOfTable();
      mailbox_.Drain(*gatekeeper_);
      Settle();
    }));
    POSTERN_RETURN_IF_ERROR(loop_->OnReadable(clock_watch_->fd(), [this] {
      HearOfTable();
      if (absl::Status status = clock_watch_->Rearm(); !status.ok()) return Fail(std::move(status));
      gatekeeper_->OnClockChanged();
      Settle();
    }));
    if (denied_log_ != nullptr) {
      POSTERN_RETURN_IF_ERROR(loop_->OnReadable(denied_log_->fd(), [this] { HearOfDenied(); }));
    }
    if (metrics_ != nullptr) {
      POSTERN_RETURN_IF_ERROR(loop_->OnReadable(metrics_->fd(), [this] { metrics_->Serve(); }));
    }
    for (const int listener : server_->listeners()) {
      POSTERN_RETURN_IF_ERROR(
          loop_->OnReadable(listener, [this, listener] { server_->Accept(listener); }));
    }
    for (const int number : {SIGTERM, SIGINT}) {
      POSTERN_RETURN_IF_ERROR(loop_->OnSignal(number, [this] { loop_->Exit(); }));
    }
    return loop_->OnSignal(SIGHUP, [this] { Reload(); });
  }

  void Announce(const AuditEvent& event) {
    LogEvent(event);
    if (server_) server_->Announce(event);
    if (link_) link_->OnEvent(event);
  }

  // After each piece of work: the next end, and what systemctl status shows.
  absl::Status AfterWork() {
    POSTERN_RETURN_IF_ERROR(loop_->SetAlarm(gatekeeper_->NextAlarm()));
    KeepLastGate();
    std::string line = StatusLine(gatekeeper_->KnownStatus(), config_.limits.guarded_ports.size(),
                                  !ledger_replaced_.empty(), LinkText());
    if (line == status_line_) return absl::OkStatus();
    status_line_ = std::move(line);
    NotifyStatus(status_line_);
    return absl::OkStatus();
  }

  absl::string_view LinkText() const {
    if (link_ == nullptr) return "";
    return link_->state().attached ? "attached" : "away";
  }

  // For the next boot. It begins with a gate that observes where nobody has
  // confirmed the other: whoever armed it may be locked out.
  void KeepLastGate() {
    const bool enforces = gatekeeper_->enforces_for_good();
    if (kept_gate_enforces_ == enforces) return;
    Config gate = config_;
    gate.mode = enforces ? Mode::kEnforce : Mode::kObserve;
    const absl::Status status = SaveLastGate(gate);
    if (status.ok()) kept_gate_enforces_ = enforces;
    // Tried again after the next piece of work, and told once.
    if (!status.ok() && status != keeping_gate_) {
      Log(Priority::kError,
          absl::StrCat("keeping the gate in mind for the next boot: ", status.message()));
    }
    keeping_gate_ = status;
  }

  // What others did to the table comes before any other work.
  void HearOfTable() {
    const absl::StatusOr<std::optional<TableChange>> change = watcher_->Read();
    if (!change.ok()) return Fail(change.status());
    if (change->has_value()) gatekeeper_->OnTableChanged(**change);
  }

  void HearOfDenied() {
    const absl::StatusOr<std::vector<AccessKey>> knocks = denied_log_->Read();
    if (!knocks.ok()) return Fail(knocks.status());
    for (const AccessKey& knock : *knocks) Log(DeniedLine(knock, gatekeeper_->enforces()));
  }

  // A loop whose alarm cannot be set would miss ends, and one that cannot hear
  // what is done to the table would not undo it: better restarted.
  void Settle() {
    if (absl::Status status = AfterWork(); !status.ok()) Fail(std::move(status));
  }
  void Fail(absl::Status status) {
    failure_ = std::move(status);
    loop_->Exit();
  }

  void Reload() {
    NotifyReloading();
    HearOfTable();
    absl::StatusOr<Config> wanted = LoadConfig(config_path_);
    if (!wanted.ok()) {
      LogNotReloaded(wanted.status());
    } else {
      Take(PlanReload(config_, *wanted));
    }
    Settle();
    NotifyReady(status_line_);
  }

  void Take(ReloadPlan plan) {
    for (const std::string& message : plan.needs_restart) Log(Priority::kWarning, message);
    // Before it is so: whoever is told can still be let in.
    WarnOf(gatekeeper_->NewlyExposedSessions(OptionsOf(plan.config)));
    if (absl::Status status = gatekeeper_->Reconfigure(OptionsOf(plan.config), "agent");
        !status.ok()) {
      return LogNotReloaded(status);
    }
    config_ = std::move(plan.config);
    kept_gate_enforces_.reset();
    server_->Reload(config_, Facts());
    Log(LineOf(KindOf(AuditKind::kConfigReloaded),
               plan.applied.empty()
                   ? "reloaded; nothing changed"
                   : absl::StrCat("reloaded: ", absl::StrJoin(plan.applied, ", "))));
  }

  static void LogNotReloaded(const absl::Status& why) {
    Log(LineOf(kReloadRefused, absl::StrCat("not reloaded: ", why.message())));
  }

  AgentFacts Facts() const {
    AgentFacts facts{.version = kVersion, .warnings = {}};
    if (link_ != nullptr) {
      const LinkState state = link_->state();
      facts.controller = {.address = config_.controller->address,
                          .attached = state.attached,
                          .since = state.since,
                          .problem = state.problem,
                          .revision = state.revision};
      if (!state.problem.empty()) {
        facts.warnings.push_back(absl::StrCat("controller ", config_.controller->address, ": ",
                                              state.problem, "; live grants run on to their ends"));
      }
    }
    if (!denied_log_missing_.empty()) facts.warnings.push_back(denied_log_missing_);
    if (!metrics_missing_.empty()) facts.warnings.push_back(metrics_missing_);
    if (!ledger_replaced_.empty()) facts.warnings.push_back(ledger_replaced_);
    return facts;
  }

  // Who would be locked out if their session ended.
  static void WarnOf(const absl::StatusOr<std::vector<Flow>>& exposed) {
    if (!exposed.ok()) {
      Log(Priority::kWarning, absl::StrCat("looking for live sessions that no grant covers: ",
                                           exposed.status().message()));
      return;
    }
    const size_t shown = std::min(exposed->size(), kMostSessionsShown);
    for (size_t i = 0; i < shown; ++i) Log(UncoveredLine((*exposed)[i]));
    if (exposed->size() > shown) {
      Log(Priority::kWarning,
          absl::StrCat("and ", exposed->size() - shown, " more sessions that no grant covers"));
    }
  }

  Config config_;
  const std::string config_path_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<AgentClock> clock_;
  std::unique_ptr<NftFirewall> firewall_;
  std::unique_ptr<nft::Watcher> watcher_;
  // Null where the kernel has none, and why.
  std::unique_ptr<nft::DeniedLog> denied_log_;
  std::string denied_log_missing_;
  std::unique_ptr<Sessions> sessions_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  Mailbox mailbox_;
  std::unique_ptr<RpcServer> server_;
  // Null where agent.yaml names no metrics_socket, or it cannot be had, and why.
  std::unique_ptr<MetricsSocket> metrics_;
  std::string metrics_missing_;
  // Null where agent.yaml names no controller.
  std::unique_ptr<Link> link_;
  // What the log says of it.
  LinkState logged_link_;
  std::optional<ClockWatch> clock_watch_;
  // Empty where the ledger was sound.
  std::string ledger_replaced_;
  std::string status_line_;
  // Whether the gate that was last kept for the next boot enforces; empty where
  // it must be kept again.
  std::optional<bool> kept_gate_enforces_;
  absl::Status keeping_gate_;
  absl::Status failure_;
};

}  // namespace

absl::Status RunAgent(Config config, const std::string& config_path) {
  // gRPC asks the system's resolver for the controller, as everybody on this host does.
  setenv("GRPC_DNS_RESOLVER", "native", 0);  // NOLINT(concurrency-mt-unsafe): no thread yet
  Agent agent(std::move(config), config_path);
  POSTERN_RETURN_IF_ERROR(agent.Start());
  return agent.Run();
}

}  // namespace postern
