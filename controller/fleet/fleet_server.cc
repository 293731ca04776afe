#include "controller/fleet/fleet_server.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <postern/v1/controller.grpc.pb.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/grpc/tls_credentials.h"
#include "common/pki/request.h"
#include "common/status.h"
#include "common/tls/certificates.h"
#include "common/uuid.h"
#include "controller/fleet/convert.h"

namespace postern::controller {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kHandshakeMs = 10'000;
// A VM that vanished is noticed within a minute.
constexpr int kKeepaliveMs = 40'000;
constexpr int kKeepaliveAnswerMs = 20'000;
constexpr int kMinPingIntervalMs = 10'000;
constexpr size_t kMemoryBytes = size_t{256} << 20;
constexpr std::chrono::seconds kGoodbye{1};

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::StatusOr<VmId> VmOf(const grpc::ServerContextBase& context) {
  for (const grpc::string_ref& uri :
       context.auth_context()->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    absl::StatusOr<VmId> vm = VmOfUri(absl::string_view(uri.data(), uri.size()));
    if (vm.ok()) return vm;
  }
  return absl::UnauthenticatedError(
      "the call wants the certificate that Enroll gave this virtual machine");
}

// "" where there is no certificate that can be read.
std::string SerialOf(const grpc::ServerContextBase& context) {
  for (const grpc::string_ref& pem :
       context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME)) {
    const absl::StatusOr<CertificateFacts> facts =
        postern::FactsOf(std::string(pem.data(), pem.size()));
    if (facts.ok()) return facts->serial;
  }
  return "";
}

// What a server shakes hands with. gRPC 1.51 may begin a handshake after the server
// is gone and asks for its certificates then, so they stay as long as the program.
std::shared_ptr<grpc::ServerCredentials> KeptCredentials(
    std::unique_ptr<CertificateSource> source) {
  struct Kept {
    std::unique_ptr<CertificateSource> source;
    std::shared_ptr<grpc::ServerCredentials> credentials;
  };
  static std::mutex mutex;
  static auto& kept = *new std::vector<Kept>;
  std::shared_ptr<grpc::ServerCredentials> credentials = TlsCredentials(*source);
  const std::lock_guard lock(mutex);
  kept.push_back({std::move(source), credentials});
  return credentials;
}

class Server;

// The stream of one VM. gRPC's threads call the On... functions; the store is read
// and written by the workers.
class Stream final : public grpc::ServerBidiReactor<v1::AgentMessage, v1::WantedState>,
                     public std::enable_shared_from_this<Stream> {
 public:
  Stream(Server& server, VmId vm, grpc::CallbackServerContext& context)
      : server_(server),
        who_{.vm = std::move(vm), .id = NewUuid()},
        serial_(SerialOf(context)),
        context_(context) {}

  // Begins; the stream holds itself until it is done.
  void Begin() {
    self_ = shared_from_this();
    StartRead(&message_);
  }

  // What the VM is wanted to hold may be another now; with `revision`, unless that
  // is what it was told.
  void Check(std::optional<uint64_t> revision = {});
  void End(const absl::Status& status);

  const AgentStream& who() const { return who_; }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(absl::CancelledError("the stream was cut off")); }
  void OnDone() override;

 private:
  absl::Status Take(const v1::AgentMessage& message);
  void ReadWanted();
  // With mutex_ held: ends the stream once nothing is being written.
  void FinishIfIdle();
  void CutOffLater();

  Server& server_;
  const AgentStream who_;
  const std::string serial_;
  grpc::CallbackServerContext& context_;
  std::shared_ptr<Stream> self_;
  // What is being read, until OnReadDone.
  v1::AgentMessage message_;

  std::mutex mutex_;
  bool attached_ = false;
  // Somebody asked for a look since the last one began.
  bool check_wanted_ = false;
  // A look at the store, or a write of what it gave, is under way.
  bool busy_ = false;
  bool writing_ = false;
  bool finished_ = false;
  std::optional<boost::asio::steady_timer> patience_;
  std::optional<absl::Status> end_;
  v1::WantedState state_;
  std::optional<uint64_t> sent_revision_;
};

class Server final : public FleetServer, public v1::ControllerService::CallbackService {
 public:
  Server(FleetServerOptions options, FleetService& fleet, Issuer& issuer, const Clock& clock)
      : options_(std::move(options)),
        fleet_(fleet),
        issuer_(issuer),
        clock_(clock),
        workers_(options_.workers) {}

  ~Server() override {
    if (server_ != nullptr) {
      EndAll();
      server_->Shutdown(std::chrono::system_clock::now() + kGoodbye);
      server_->Wait();
    }
    workers_.join();
    // All in one: a commit for each keeps those waiting who wait for the next start.
    if (!ended_.empty()) Tell(fleet_.Detached(ended_));
  }

  absl::Status Listen() {
    POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<CertificateSource> source,
                             CertificateSource::Open(issuer_.server_files(), options_.report));
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveAnswerMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kMinPingIntervalMs);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetResourceQuota(grpc::ResourceQuota("fleet").Resize(kMemoryBytes));
    const std::string host = options_.address.family == Family::kIpv6
                                 ? absl::StrCat("[", options_.address.ToString(), "]")
                                 : options_.address.ToString();
    int port = 0;
    builder.AddListeningPort(absl::StrCat(host, ":", options_.port),
                             KeptCredentials(std::move(source)), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(absl::StrCat("listening for agents on ", host, ":",
                                                 options_.port,
                                                 ": the address is taken or not this host's"));
    }
    port_ = static_cast<uint16_t>(port);
    return absl::OkStatus();
  }

  uint16_t port() const override { return port_; }

  void Changed(const std::vector<std::string>& vm_keys) override {
    for (const std::string& key : vm_keys) {
      if (const std::shared_ptr<Stream> stream = Find(key)) stream->Check();
    }
  }

  void CheckAll() override {
    Post([this] {
      if (IsKeepAliveDue()) Tell(fleet_.KeepAlive());
      const absl::StatusOr<std::map<std::string, int64_t>> revisions = fleet_.Revisions();
      if (!revisions.ok()) return options_.report(std::string(revisions.status().message()));
      for (const auto& [key, stream] : Streams()) {
        const auto found = revisions->find(key);
        // One that is missing is told why its stream ends.
        stream->Check(found == revisions->end() ? std::optional<uint64_t>()
                                                : static_cast<uint64_t>(found->second));
      }
    });
  }

  size_t attached() const override {
    const std::lock_guard lock(mutex_);
    return streams_.size();
  }

  grpc::ServerUnaryReactor* Enroll(grpc::CallbackServerContext* context,
                                   const v1::EnrollRequest* request,
                                   v1::Certificate* answer) override {
    return Later(context, [this, context, request, answer] {
      // Before the token is used up: a request that cannot be signed wastes nothing.
      POSTERN_RETURN_IF_ERROR(KeyCheck(request->certificate_request()));
      POSTERN_ASSIGN_OR_RETURN(
          const VmId vm, fleet_.Enroll(request->join_token(), request->name(), context->peer()));
      return Certify(vm, request->certificate_request(), "", *answer);
    });
  }

  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const v1::RenewRequest* request,
                                  v1::Certificate* answer) override {
    return Later(context, [this, context, request, answer]() -> absl::Status {
      POSTERN_ASSIGN_OR_RETURN(const VmId vm, VmOf(*context));
      const std::string serial = SerialOf(*context);
      POSTERN_RETURN_IF_ERROR(fleet_.CheckCertificate(vm, serial));
      return Certify(vm, request->certificate_request(), serial, *answer);
    });
  }

  grpc::ServerBidiReactor<v1::AgentMessage, v1::WantedState>* Attach(
      grpc::CallbackServerContext* context) override {
    absl::StatusOr<VmId> vm = VmOf(*context);
    const auto stream = std::make_shared<Stream>(*this, vm.ok() ? *vm : VmId{}, *context);
    stream->Begin();
    if (!vm.ok()) stream->End(vm.status());
    return stream.get();
  }

  // The stream is the VM's from now on; one that was is ended.
  void Register(const std::shared_ptr<Stream>& stream) {
    std::shared_ptr<Stream> before;
    {
      const std::lock_guard lock(mutex_);
      before = std::exchange(streams_[stream->who().vm.Key()], stream);
    }
    if (before != nullptr) before->End(absl::AbortedError("the VM has attached another time"));
  }

  void Forget(const Stream& stream) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = streams_.find(stream.who().vm.Key());
      if (found == streams_.end() || found->second.get() != &stream) return;
      streams_.erase(found);
      if (stopping_) {
        ended_.push_back(stream.who());
        return;
      }
    }
    Post([this, ended = stream.who()] { Tell(fleet_.Detached({ended})); });
  }

  template <typename Work>
  void Post(Work work) {
    boost::asio::post(workers_, std::move(work));
  }

  boost::asio::thread_pool::executor_type executor() { return workers_.get_executor(); }
  FleetService& fleet() { return fleet_; }
  absl::Time now() const { return clock_.Read().wall; }

 private:
  template <typename Work>
  grpc::ServerUnaryReactor* Later(grpc::CallbackServerContext* context, Work work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    Post([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
    return reactor;
  }

  absl::Status KeyCheck(const std::string& request) const {
    return issuer_.Issue(VmId{.name = "check"}, request, now()).status();
  }

  absl::Status Certify(const VmId& vm, const std::string& request, const std::string& renewed,
                       v1::Certificate& answer) {
    POSTERN_ASSIGN_OR_RETURN(const IssuedCertificate issued, issuer_.Issue(vm, request, now()));
    POSTERN_RETURN_IF_ERROR(fleet_.RecordCertificate(vm, issued.serial, issued.expires, renewed));
    answer.set_certificate(issued.pem);
    answer.set_authorities(issuer_.authorities());
    answer.set_vm(vm.ToString());
    return absl::OkStatus();
  }

  std::map<std::string, std::shared_ptr<Stream>> Streams() const {
    const std::lock_guard lock(mutex_);
    return streams_;
  }

  // Agents that are told dial again; those that are not would be waited for.
  void EndAll() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    for (const auto& [key, stream] : Streams()) {
      stream->End(absl::UnavailableError("the controller stops"));
    }
  }

  bool IsKeepAliveDue() {
    const std::lock_guard lock(mutex_);
    const BootTime now = clock_.Read().boot;
    if (now - kept_alive_at_ < FleetService::kControllerGone / 4) return false;
    kept_alive_at_ = now;
    return true;
  }

  void Tell(const absl::Status& status) const {
    if (!status.ok()) options_.report(std::string(status.message()));
  }

  std::shared_ptr<Stream> Find(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = streams_.find(key);
    return found == streams_.end() ? nullptr : found->second;
  }

  const FleetServerOptions options_;
  FleetService& fleet_;
  Issuer& issuer_;
  const Clock& clock_;
  boost::asio::thread_pool workers_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Stream>> streams_;
  // Once it stops: those that ended since.
  bool stopping_ = false;
  BootTime kept_alive_at_;
  std::vector<AgentStream> ended_;
  uint16_t port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

void Stream::OnReadDone(bool ok) {
  if (!ok) return End(absl::OkStatus());
  server_.Post([self = shared_from_this()] {
    const absl::Status status = self->Take(self->message_);
    if (!status.ok()) return self->End(status);
    const std::lock_guard lock(self->mutex_);
    if (!self->end_) self->StartRead(&self->message_);
  });
}

absl::Status Stream::Take(const v1::AgentMessage& message) {
  if (message.has_hello() == attached_) {
    return absl::InvalidArgumentError("a stream begins with one hello, and has one");
  }
  if (message.has_hello()) {
    POSTERN_ASSIGN_OR_RETURN(const AgentFacts facts,
                             controller::FactsOf(message.hello(), server_.now()));
    POSTERN_RETURN_IF_ERROR(server_.fleet().Attached(who_, serial_, facts));
    attached_ = true;
    server_.Register(shared_from_this());
    Check();
    return absl::OkStatus();
  }
  if (!message.has_applied()) return absl::InvalidArgumentError("a message says nothing");
  POSTERN_ASSIGN_OR_RETURN(const Report report, ReportOf(message.applied()));
  return server_.fleet().Take(who_, report);
}

void Stream::Check(std::optional<uint64_t> revision) {
  const std::lock_guard lock(mutex_);
  if (revision && revision == sent_revision_) return;
  check_wanted_ = true;
  if (busy_ || end_) return;
  busy_ = true;
  server_.Post([self = shared_from_this()] { self->ReadWanted(); });
}

void Stream::ReadWanted() {
  {
    const std::lock_guard lock(mutex_);
    check_wanted_ = false;
  }
  const absl::StatusOr<Wanted> wanted = server_.fleet().WantedOf(who_);
  const std::lock_guard lock(mutex_);
  busy_ = false;
  if (end_) return;
  if (!wanted.ok()) {
    end_ = wanted.status();
    return FinishIfIdle();
  }
  if (sent_revision_ != static_cast<uint64_t>(wanted->revision)) {
    state_ = ToProto(*wanted, server_.now());
    sent_revision_ = state_.revision();
    busy_ = true;
    writing_ = true;
    StartWrite(&state_);
  } else if (check_wanted_) {
    busy_ = true;
    server_.Post([self = shared_from_this()] { self->ReadWanted(); });
  }
}

void Stream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  busy_ = false;
  if (!ok && !end_) end_ = absl::UnavailableError("the VM does not read");
  if (end_) return FinishIfIdle();
  if (!check_wanted_) return;
  busy_ = true;
  server_.Post([self = shared_from_this()] { self->ReadWanted(); });
}

void Stream::End(const absl::Status& status) {
  const std::lock_guard lock(mutex_);
  if (!end_) end_ = status;
  FinishIfIdle();
}

void Stream::FinishIfIdle() {
  if (finished_) return;
  if (writing_) return CutOffLater();
  finished_ = true;
  if (patience_) patience_->cancel();
  Finish(ToGrpc(*end_));
}

// What is being written goes before the reason of the end; a peer that reads
// nothing would keep it so.
void Stream::CutOffLater() {
  if (patience_) return;
  patience_.emplace(server_.executor(), kGoodbye);
  patience_->async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    const std::lock_guard lock(self->mutex_);
    if (!error && !self->finished_) self->context_.TryCancel();
  });
}

void Stream::OnDone() {
  server_.Forget(*this);
  // Whoever still holds it lets it go; gRPC calls nothing any more.
  const std::shared_ptr<Stream> self = std::exchange(self_, nullptr);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FleetServer>> FleetServer::Start(FleetServerOptions options,
                                                                FleetService& fleet, Issuer& issuer,
                                                                const Clock& clock) {
  // Before the first stream, which is as good as the controller that holds it.
  POSTERN_RETURN_IF_ERROR(fleet.KeepAlive());
  auto server = std::make_unique<Server>(std::move(options), fleet, issuer, clock);
  POSTERN_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace postern::controller
