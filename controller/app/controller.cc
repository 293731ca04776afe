#include "controller/app/controller.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/config/files.h"
#include "common/fd.h"
#include "common/status.h"
#include "common/systemd/event_loop.h"
#include "common/systemd/log.h"
#include "common/systemd/notify.h"
#include "common/tls/certificates.h"
#include "common/uuid.h"
#include "common/version.h"
#include "controller/app/background.h"
#include "controller/fleet/fleet_server.h"
#include "controller/fleet/issuer.h"
#include "controller/identity/authenticator.h"
#include "controller/identity/trusted_issuers.h"
#include "controller/rest/api.h"
#include "controller/rest/http_server.h"
#include "controller/service/access_service.h"
#include "controller/service/fleet_service.h"
#include "controller/store/postgres_database.h"
#include "controller/store/schema.h"
#include "controller/store/sqlite_database.h"

namespace postern::controller {
namespace {

// Where several controllers share a database, changes that another one made are
// looked for this often.
constexpr absl::Duration kPoll = absl::Seconds(30);
constexpr absl::Duration kFailurePause = absl::Seconds(5);
constexpr char kOwner[] = "user:owner";

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::vector<std::string> NamesOf(const Config& config) {
  if (!config.names.empty()) return config.names;
  return {HostName(), "localhost", "127.0.0.1", "::1"};
}

std::string PublicUrlOf(const Config& config) {
  if (!config.public_url.empty()) return config.public_url;
  return absl::StrCat("https://", NamesOf(config).front(), ":", config.rest.port);
}

absl::StatusOr<std::unique_ptr<Database>> OpenDatabase(const Config& config) {
  if (!config.postgres.empty()) return OpenPostgresDatabase(config.postgres);
  return OpenSqliteDatabase(absl::StrCat(config.state_dir, "/controller.db"));
}

// The file is nobody else's while this lives. Tools that open it beside, such as
// --make-token, do not serve from it.
absl::StatusOr<Fd> LockStore(const std::string& state_dir) {
  const std::string path = absl::StrCat(state_dir, "/controller.lock");
  Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (lock.get() < 0) return ErrnoStatus(errno, absl::StrCat("opening ", path));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("locking ", path));
  return absl::FailedPreconditionError(
      absl::StrCat("another postern-controller serves from ", state_dir,
                   "; several controllers need PostgreSQL (store.postgres)"));
}

absl::Status MakeStateFolder(const std::string& path) {
  if (mkdir(path.c_str(), S_IRWXU) == 0 || errno == EEXIST) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("making the state folder ", path));
}

// A fleet has a connection for each agent: more than the soft limit, which is low for
// the sake of programs that call select(2).
absl::Status AllowManyConnections() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return ErrnoStatus(errno, "getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return ErrnoStatus(errno, "setrlimit");
  return absl::OkStatus();
}

absl::Status BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  const int error = pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (error != 0) return ErrnoStatus(error, "blocking signals");
  // A peer that is gone is told by the write's error.
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return ErrnoStatus(errno, "ignoring SIGPIPE");
  return absl::OkStatus();
}

void Tell(const std::string& problem) { Log(Priority::kError, problem); }

// The running daemon: its parts, in the order in which they need one another.
class Controller {
 public:
  explicit Controller(const Config& config) : config_(config) {}

  absl::Status Start() {
    POSTERN_RETURN_IF_ERROR(BlockSignals());
    POSTERN_RETURN_IF_ERROR(AllowManyConnections());
    POSTERN_RETURN_IF_ERROR(MakeStateFolder(config_.state_dir));
    POSTERN_ASSIGN_OR_RETURN(loop_, EventLoop::Create());
    if (config_.postgres.empty()) {
      POSTERN_ASSIGN_OR_RETURN(lock_, LockStore(config_.state_dir));
    }
    POSTERN_ASSIGN_OR_RETURN(database_, OpenDatabase(config_));
    POSTERN_RETURN_IF_ERROR(Migrate(*database_));
    POSTERN_RETURN_IF_ERROR(OpenIssuer());
    access_ = std::make_unique<AccessService>(
        *database_, clock_, [this](const std::vector<std::string>& vms) { Changed(vms); });
    fleet_ = std::make_unique<FleetService>(*database_, clock_);
    // Nobody shares the file: who had streams before this start has none now.
    if (config_.postgres.empty()) POSTERN_RETURN_IF_ERROR(fleet_->ForgetOthers());
    issuers_ = std::make_unique<TrustedIssuers>(config_.oidc, clock_, FetchKeys, Tell);
    authenticator_ = std::make_unique<Authenticator>(*database_, *issuers_, clock_);
    POSTERN_RETURN_IF_ERROR(MakeFirstOwner());
    POSTERN_RETURN_IF_ERROR(Serve());
    hints_ = database_->Listen([this](const std::string& vm) { OnHint(vm); });
    POSTERN_ASSIGN_OR_RETURN(background_, Background::Start(*loop_));
    POSTERN_RETURN_IF_ERROR(loop_->OnAlarm([this] { OnAlarm(); }));
    for (const int number : {SIGTERM, SIGINT}) {
      POSTERN_RETURN_IF_ERROR(loop_->OnSignal(number, [this] { loop_->Exit(); }));
    }
    OnAlarm();
    NotifyReady(Line());
    Log(Priority::kInfo, absl::StrCat("version ", kVersion, ": ", Line()));
    return absl::OkStatus();
  }

  absl::Status Run() {
    const absl::Status status = loop_->Run();
    NotifyStopping();
    return status;
  }

 private:
  absl::Status OpenIssuer() {
    IssuerOptions options{.directory = config_.state_dir,
                          .authority = {},
                          .lifetime = config_.agent_certificate_lifetime,
                          .names = NamesOf(config_)};
    if (config_.authority) {
      options.authority =
          TlsFiles{.cert = config_.authority->cert, .key = config_.authority->key, .ca = {}};
    }
    POSTERN_ASSIGN_OR_RETURN(issuer_, Issuer::Open(std::move(options), clock_.Read().wall));
    return absl::OkStatus();
  }

  // The token of the first start, for whoever may read the state folder.
  absl::Status MakeFirstOwner() {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<NewAccessToken> made,
                             access_->MakeFirstOwner(kOwner));
    if (!made) return absl::OkStatus();
    const std::string path = absl::StrCat(config_.state_dir, "/owner.token");
    POSTERN_RETURN_IF_ERROR(ReplaceFile(path, absl::StrCat(made->secret, "\n"), S_IRUSR | S_IWUSR));
    Log(Priority::kNotice,
        absl::StrCat("the store is new: ", kOwner, " may do everything, with the token in ", path));
    return absl::OkStatus();
  }

  absl::Status Serve() {
    POSTERN_ASSIGN_OR_RETURN(fleet_server_, FleetServer::Start({.address = config_.agents.address,
                                                                .port = config_.agents.port,
                                                                .report = Tell},
                                                               *fleet_, *issuer_, clock_));
    TlsFiles files = issuer_->server_files();
    if (config_.rest_certificate) {
      files.cert = config_.rest_certificate->cert;
      files.key = config_.rest_certificate->key;
    }
    if (!config_.rest_client_ca.empty()) files.ca = config_.rest_client_ca;
    POSTERN_ASSIGN_OR_RETURN(certificates_, CertificateSource::Open(files, Tell));
    api_ = std::make_unique<Api>(*access_, *authenticator_, clock_,
                                 ApiOptions{.public_url = PublicUrlOf(config_), .report = Tell});
    HttpServerOptions options{
        .address = config_.rest.address,
        .port = config_.rest.port,
        .tls = [this] { return RestTls(); },
        .handle = [this](const HttpRequest& request) { return api_->Handle(request); }};
    POSTERN_ASSIGN_OR_RETURN(rest_server_, HttpServer::Start(std::move(options)));
    return absl::OkStatus();
  }

  ServerTls RestTls() const {
    const CertificateSource::Current current = certificates_->Get();
    const Certificates& pem = *current.certificates;
    return {.certificate = pem.cert,
            .key = pem.key,
            .client_authorities = config_.rest_client_ca.empty() ? "" : pem.ca,
            .generation = current.generation};
  }

  // Another controller has changed what is wanted of a VM, or of any of them.
  void OnHint(const std::string& vm) {
    if (vm.empty()) {
      fleet_server_->CheckAll();
    } else {
      fleet_server_->Changed({vm});
    }
  }

  void Changed(const std::vector<std::string>& vms) {
    if (fleet_server_ != nullptr) fleet_server_->Changed(vms);
  }

  // What is due, and the net under lost hints. Only the loop may not wait for the store:
  // it feeds the watchdog and reads the signals.
  void OnAlarm() {
    background_->Do([this] { pause_ = TendStore(); }, [this] { Tend(); });
  }

  // Gives how long there is nothing more to do; by the background's thread.
  absl::Duration TendStore() {
    if (config_.audit_keep) {
      const absl::Status trimmed = access_->TrimAudit(clock_.Read().wall - *config_.audit_keep);
      if (!trimmed.ok()) Tell(std::string(Annotate(trimmed, "trimming the audit").message()));
    }
    const absl::StatusOr<absl::Time> next = access_->EndWhatIsDue();
    if (!next.ok()) {
      Tell(std::string(Annotate(next.status(), "ending what is due").message()));
      return kFailurePause;
    }
    return std::clamp(*next - clock_.Read().wall, absl::ZeroDuration(), kPoll);
  }

  void Tend() {
    const Now now = clock_.Read();
    const absl::Status renewed = issuer_->RefreshServerCertificate(now.wall);
    if (!renewed.ok()) Tell(std::string(renewed.message()));
    fleet_server_->CheckAll();
    NotifyStatus(Line());
    // A request can be made meanwhile that ends before the alarm; its end is told
    // late, but the VM's kernel ends it in time.
    const absl::Status armed = loop_->SetAlarm(now.boot + pause_ + absl::Milliseconds(1));
    if (!armed.ok()) {
      Tell(std::string(armed.message()));
      loop_->Exit();
    }
  }

  std::string Line() const {
    return absl::StrCat("serving at ", PublicUrlOf(config_), "; agents at port ",
                        config_.agents.port, ", ", fleet_server_->attached(), " attached");
  }

  const Config& config_;
  const SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  Fd lock_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Issuer> issuer_;
  std::unique_ptr<AccessService> access_;
  std::unique_ptr<FleetService> fleet_;
  std::unique_ptr<TrustedIssuers> issuers_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<CertificateSource> certificates_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<FleetServer> fleet_server_;
  std::unique_ptr<HttpServer> rest_server_;
  std::unique_ptr<HintListener> hints_;
  // Until the alarm; the background's while it works.
  absl::Duration pause_ = absl::ZeroDuration();
  std::unique_ptr<Background> background_;
};

}  // namespace

absl::Status RunController(const Config& config) {
  Controller controller(config);
  POSTERN_RETURN_IF_ERROR(controller.Start());
  return controller.Run();
}

absl::StatusOr<std::string> MakeToken(const Config& config, const std::string& principal,
                                      absl::Duration lifetime) {
  const SystemClock clock;
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Database> database, OpenDatabase(config));
  POSTERN_RETURN_IF_ERROR(Migrate(*database));
  AccessService access(*database, clock, [](const std::vector<std::string>&) {});
  POSTERN_ASSIGN_OR_RETURN(NewAccessToken made,
                           access.CreateAccessTokenOnHost(principal, lifetime));
  return std::move(made.secret);
}

}  // namespace postern::controller
