#include "agent/link/link.h"

#include <grpcpp/grpcpp.h>
#include <postern/v1/controller.grpc.pb.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/link/identity_files.h"
#include "agent/link/plan.h"
#include "common/config/files.h"
#include "common/pki/request.h"
#include "common/status.h"

namespace postern {
namespace {

using Stream = grpc::ClientReaderWriter<v1::AgentMessage, v1::WantedState>;

constexpr int kMaxMessageBytes = 4 << 20;
constexpr size_t kMaxTokenFileBytes = 1024;
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveAnswerMs = 20'000;
constexpr absl::Duration kCallTime = absl::Seconds(30);
constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(2);
// How soon a step is tried again that failed for a reason that may pass.
constexpr absl::Duration kRetryPause = absl::Seconds(5);
// How often it is looked whether the certificate has to be renewed.
constexpr absl::Duration kRenewLook = absl::Hours(1);
// Ends that wait for a stream to be told.
constexpr size_t kMostWaiting = 10'000;

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status) ||
         absl::IsInternal(status) || absl::IsAborted(status);
}

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address, const std::string& ca,
                                         const LinkIdentity* identity) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ca;
  if (identity != nullptr) {
    options.pem_cert_chain = identity->certificate;
    options.pem_private_key = identity->key;
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // Neither a proxy of the web nor a TXT record has a say in who opens a door.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveAnswerMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Each channel its own connection: another certificate is another peer.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(kCallTime));
}

// One stream and what it needs to live.
struct Session {
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  std::unique_ptr<v1::ControllerService::Stub> stub;
  std::unique_ptr<Stream> stream;
};

class GrpcLink final : public Link {
 public:
  GrpcLink(LinkOptions options, Mailbox& mailbox, const Clock& clock)
      : options_(std::move(options)),
        actor_(LinkActor(options_.controller.address)),
        mailbox_(mailbox),
        clock_(clock) {
    state_.since = clock_.Read().wall;
    state_.problem = "it is being dialled";
    reader_ = std::thread([this] { Dial(); });
    writer_ = std::thread([this] { WriteAll(); });
  }

  ~GrpcLink() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      if (session_ != nullptr) session_->context.TryCancel();
      if (call_ != nullptr) call_->TryCancel();
      wake_.notify_all();
    }
    reader_.join();
    writer_.join();
  }

  LinkState state() const override {
    const std::lock_guard lock(mutex_);
    return state_;
  }

  void OnEvent(const AuditEvent& event) override {
    switch (event.kind) {
      case AuditKind::kGrantExpired:
      case AuditKind::kGrantRevoked:
        return TellEnd(event.grant_id);
      case AuditKind::kArmed:
      case AuditKind::kConfirmed:
      case AuditKind::kDisarmed:
      case AuditKind::kConfigReloaded:
        // What the hello said may not be true any more.
        return Redial();
      default:
        return;
    }
  }

 private:
  // The reader: dials, and takes what the controller wants.
  void Dial() {
    absl::Duration pause = kFirstPause;
    std::mt19937 random{std::random_device{}()};
    while (!stopping()) {
      const absl::Time began = clock_.Read().wall;
      const absl::Status ended = Attach();
      // One that held for a while was no failure to dial.
      if (clock_.Read().wall - began > kLongestPause) pause = kFirstPause;
      SetProblem(ended);
      Pause(pause * std::uniform_real_distribution<double>(0.5, 1.0)(random));
      pause = std::min(pause * 2, kLongestPause);
    }
  }

  absl::Status Attach() {
    POSTERN_ASSIGN_OR_RETURN(const LinkIdentity identity, Identity());
    auto session = std::make_shared<Session>();
    session->channel = ChannelTo(options_.controller.address, identity.authorities, &identity);
    session->stub = v1::ControllerService::NewStub(session->channel);
    POSTERN_ASSIGN_OR_RETURN(const v1::AgentMessage hello, Hello());
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return absl::CancelledError("posternd stops");
      session->stream = session->stub->Attach(&session->context);
      session_ = session;
      renew_at_ = identity.renew_at;
      outbox_.clear();
      outbox_.push_back(hello);
      wake_.notify_all();
    }
    v1::WantedState wanted;
    absl::Status status;
    while (status.ok() && session->stream->Read(&wanted)) status = Take(wanted);
    {
      std::unique_lock lock(mutex_);
      session_ = nullptr;
      // One that the controller has ended says why.
      if (!status.ok()) session->context.TryCancel();
      // The writer lets go of it before it is finished.
      wake_.wait(lock, [this] { return !writing_; });
    }
    const absl::Status finished = FromGrpc(session->stream->Finish());
    if (!status.ok()) return status;
    return finished.ok() ? absl::UnavailableError("the controller ended the stream") : finished;
  }

  absl::StatusOr<v1::AgentMessage> Hello() {
    POSTERN_ASSIGN_OR_RETURN(
        const bool enforces,
        (Asked<bool>([](Gatekeeper& gatekeeper) { return gatekeeper.enforces(); })));
    v1::AgentMessage message;
    v1::AgentHello& hello = *message.mutable_hello();
    hello.set_version(options_.version);
    hello.set_hostname(options_.name);
    hello.set_enforces(enforces);
    for (const uint16_t port : options_.guarded_ports) hello.add_guarded_ports(port);
    hello.mutable_max_duration()->set_seconds(absl::ToInt64Seconds(options_.max_duration));
    const int64_t nanoseconds = absl::ToUnixNanos(clock_.Read().wall);
    hello.mutable_clock()->set_seconds(nanoseconds / 1'000'000'000);
    hello.mutable_clock()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
    return message;
  }

  // Does what `state` wants, and tells what became of it; again and again while
  // something fails that may pass.
  absl::Status Take(const v1::WantedState& state) {
    POSTERN_ASSIGN_OR_RETURN(WantedGrants wanted, ReadWanted(state));
    SetAttached();
    const BootTime came = clock_.Read().boot;
    const absl::Duration zero = absl::ZeroDuration();
    absl::Duration late = zero;
    while (true) {
      WantedGrants left = wanted;
      // What remained when the message came is less by now.
      late = clock_.Read().boot - came;
      for (GrantRequest& grant : left.grants) grant.duration -= late;
      std::erase_if(left.grants, [zero](const GrantRequest& g) { return g.duration <= zero; });
      v1::AppliedState applied;
      applied.set_revision(wanted.revision);
      POSTERN_ASSIGN_OR_RETURN(const bool done, Apply(left, applied));
      if (done) {
        SetRevision(wanted.revision);
        Send(std::move(applied));
        return absl::OkStatus();
      }
      if (!Pause(kRetryPause)) return absl::CancelledError("posternd stops");
    }
  }

  // Whether nothing has to be tried again.
  absl::StatusOr<bool> Apply(const WantedGrants& wanted, v1::AppliedState& applied) {
    POSTERN_ASSIGN_OR_RETURN(const HeldGrants held, Held(wanted));
    const Plan plan = MakePlan(wanted, held, clock_.Read().wall);
    for (const Grant& grant : plan.settled) Add(grant, applied);
    std::vector<std::future<absl::StatusOr<Grant>>> answers;
    for (const Step& step : plan.steps) {
      POSTERN_ASSIGN_OR_RETURN(std::future<absl::StatusOr<Grant>> answer, Submit(step));
      answers.push_back(std::move(answer));
    }
    bool done = true;
    for (size_t i = 0; i < answers.size(); ++i) {
      const absl::StatusOr<Grant> answer = answers[i].get();
      if (answer.ok()) {
        Add(*answer, applied);
      } else if (MayPass(answer.status())) {
        SetTrouble(answer.status());
        done = false;
      } else if (const auto* create = std::get_if<CreateGrant>(&plan.steps[i])) {
        *applied.add_grants() = RefusalOf(create->request.id, answer.status().message());
      } else {
        // An extension beyond the local limits: the grant stays as it was.
        SetTrouble(answer.status());
      }
    }
    return done;
  }

  void Add(const Grant& grant, v1::AppliedState& applied) const {
    *applied.add_grants() = grant.created_by == actor_
                                ? ReportOf(grant)
                                : RefusalOf(grant.id, "another's grant has this id");
  }

  absl::StatusOr<std::future<absl::StatusOr<Grant>>> Submit(const Step& step) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Grant>>>();
    std::future<absl::StatusOr<Grant>> future = promise->get_future();
    POSTERN_RETURN_IF_ERROR(mailbox_.Submit(
        {.request = step, .actor = actor_, .done = [promise](absl::StatusOr<Grant> grant) {
           promise->set_value(std::move(grant));
         }}));
    return future;
  }

  absl::StatusOr<HeldGrants> Held(const WantedGrants& wanted) {
    using Answer = absl::StatusOr<HeldGrants>;
    POSTERN_ASSIGN_OR_RETURN(Answer held, Asked<Answer>([&wanted, this](Gatekeeper& gatekeeper) {
                               return ReadHeld(gatekeeper, wanted);
                             }));
    return held;
  }

  absl::StatusOr<HeldGrants> ReadHeld(Gatekeeper& gatekeeper, const WantedGrants& wanted) const {
    constexpr size_t kPage = 1000;
    HeldGrants held;
    int64_t after = 0;
    while (true) {
      POSTERN_ASSIGN_OR_RETURN(std::vector<Grant> page, gatekeeper.List(after, kPage, false));
      for (Grant& grant : page) {
        after = grant.sequence;
        if (grant.created_by == actor_) held.live.emplace(grant.id, std::move(grant));
      }
      if (page.size() < kPage) break;
    }
    for (const GrantRequest& request : wanted.grants) {
      if (held.live.contains(request.id)) continue;
      absl::StatusOr<Grant> other = gatekeeper.Get(request.id);
      if (other.ok()) {
        held.others.emplace(request.id, *std::move(other));
      } else if (!absl::IsNotFound(other.status())) {
        return other.status();
      }
    }
    return held;
  }

  // What `ask` gives on the gatekeeper's thread.
  template <typename T>
  absl::StatusOr<T> Asked(std::function<T(Gatekeeper&)> ask) {
    auto promise = std::make_shared<std::promise<T>>();
    std::future<T> future = promise->get_future();
    POSTERN_RETURN_IF_ERROR(mailbox_.Ask([promise, ask = std::move(ask)](Gatekeeper& gatekeeper) {
      promise->set_value(ask(gatekeeper));
    }));
    return future.get();
  }

  // The certificate of this VM; enrols where there is none.
  absl::StatusOr<LinkIdentity> Identity() {
    absl::StatusOr<LinkIdentity> identity = LoadIdentity(options_.state_dir);
    if (!absl::IsNotFound(identity.status())) return identity;
    const std::string& token_file = options_.controller.join_token_file;
    if (token_file.empty()) {
      return absl::FailedPreconditionError(
          "this VM has not enrolled; put a join token into a file and name that in agent.yaml "
          "(controller.join_token_file)");
    }
    POSTERN_ASSIGN_OR_RETURN(const FileContent token,
                             ReadSmallFile(token_file, kMaxTokenFileBytes));
    POSTERN_ASSIGN_OR_RETURN(const FileContent ca,
                             ReadSmallFile(options_.controller.ca, size_t{1} << 20));
    v1::EnrollRequest request;
    request.set_join_token(std::string(absl::StripAsciiWhitespace(token.bytes)));
    request.set_name(options_.name);
    return Certified([&](const std::string& csr, grpc::ClientContext& context,
                         v1::Certificate& answer) {
      request.set_certificate_request(csr);
      const auto stub =
          v1::ControllerService::NewStub(ChannelTo(options_.controller.address, ca.bytes, nullptr));
      return FromGrpc(stub->Enroll(&context, request, &answer));
    });
  }

  absl::StatusOr<LinkIdentity> Certified(
      const std::function<absl::Status(const std::string&, grpc::ClientContext&, v1::Certificate&)>&
          call) {
    POSTERN_ASSIGN_OR_RETURN(const CertificateRequest request, NewCertificateRequest());
    grpc::ClientContext context;
    SetDeadline(context);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return absl::CancelledError("posternd stops");
      call_ = &context;
    }
    v1::Certificate answer;
    const absl::Status called = call(request.request, context, answer);
    {
      const std::lock_guard lock(mutex_);
      call_ = nullptr;
    }
    POSTERN_RETURN_IF_ERROR(Annotate(called, "asking for this VM's certificate"));
    POSTERN_ASSIGN_OR_RETURN(LinkIdentity identity,
                             MakeIdentity(answer.certificate(), request.key, answer.authorities()));
    POSTERN_RETURN_IF_ERROR(SaveIdentity(options_.state_dir, identity));
    return identity;
  }

  // The writer: hello, what was applied, and ends as they come.
  void WriteAll() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (session_ == nullptr || (outbox_.empty() && (ends_.empty() || !state_.attached))) {
        wake_.wait_for(lock, absl::ToChronoSeconds(kRenewLook));
        if (session_ != nullptr && clock_.Read().wall >= renew_at_) Renew(lock);
        continue;
      }
      const std::shared_ptr<Session> session = session_;
      writing_ = true;
      if (!outbox_.empty()) {
        const v1::AgentMessage message = std::move(outbox_.front());
        outbox_.pop_front();
        lock.unlock();
        session->stream->Write(message);
        lock.lock();
      } else {
        WriteEnd(*session, lock);
      }
      writing_ = false;
      wake_.notify_all();
    }
  }

  // What could not be written stays, for the next stream.
  void WriteEnd(Session& session, std::unique_lock<std::mutex>& lock) {
    const std::string id = ends_.front();
    const uint64_t revision = state_.revision;
    lock.unlock();
    using Answer = absl::StatusOr<Grant>;
    const absl::StatusOr<Answer> grant =
        Asked<Answer>([&id](Gatekeeper& gatekeeper) { return gatekeeper.Get(id); });
    bool told = true;
    if (grant.ok() && grant->ok() && (*grant)->created_by == actor_) {
      v1::AgentMessage message;
      message.mutable_applied()->set_revision(revision);
      *message.mutable_applied()->add_grants() = ReportOf(**grant);
      told = session.stream->Write(message);
    }
    lock.lock();
    if (told && !ends_.empty() && ends_.front() == id) ends_.pop_front();
    if (!told && session_.get() == &session) session_ = nullptr;
  }

  void Renew(std::unique_lock<std::mutex>& lock) {
    const std::shared_ptr<Session> session = session_;
    renew_at_ = clock_.Read().wall + kRenewLook;
    lock.unlock();
    const absl::StatusOr<LinkIdentity> identity = Certified(
        [&](const std::string& csr, grpc::ClientContext& context, v1::Certificate& answer) {
          v1::RenewRequest request;
          request.set_certificate_request(csr);
          return FromGrpc(session->stub->Renew(&context, request, &answer));
        });
    if (!identity.ok()) SetTrouble(identity.status());
    lock.lock();
    if (identity.ok()) session->context.TryCancel();
  }

  void Send(v1::AppliedState applied) {
    v1::AgentMessage message;
    *message.mutable_applied() = std::move(applied);
    const std::lock_guard lock(mutex_);
    outbox_.push_back(std::move(message));
    wake_.notify_all();
  }

  void TellEnd(const std::string& id) {
    const std::lock_guard lock(mutex_);
    if (ends_.size() >= kMostWaiting) ends_.pop_front();
    ends_.push_back(id);
    wake_.notify_all();
  }

  void Redial() {
    const std::lock_guard lock(mutex_);
    if (session_ != nullptr) session_->context.TryCancel();
  }

  // False when the link ends meanwhile.
  bool Pause(absl::Duration pause) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, absl::ToChronoMilliseconds(pause), [this] { return stopping_; });
    return !stopping_;
  }

  bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  void SetAttached() {
    {
      const std::lock_guard lock(mutex_);
      if (state_.attached) return;
      state_.attached = true;
      state_.since = clock_.Read().wall;
      state_.problem.clear();
    }
    options_.changed();
  }

  void SetProblem(const absl::Status& status) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (state_.attached) state_.since = clock_.Read().wall;
      state_.attached = false;
      if (state_.problem == status.message()) return;
      state_.problem = std::string(status.message());
    }
    options_.changed();
  }

  // Something that the controller wants fails, and may pass.
  void SetTrouble(const absl::Status& status) {
    {
      const std::lock_guard lock(mutex_);
      if (state_.problem == status.message()) return;
      state_.problem = std::string(status.message());
    }
    options_.changed();
  }

  void SetRevision(uint64_t revision) {
    const std::lock_guard lock(mutex_);
    state_.revision = revision;
  }

  const LinkOptions options_;
  const std::string actor_;
  Mailbox& mailbox_;
  const Clock& clock_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  LinkState state_;
  std::shared_ptr<Session> session_;
  // A unary call that is under way.
  grpc::ClientContext* call_ = nullptr;
  bool writing_ = false;
  std::deque<v1::AgentMessage> outbox_;
  // Grants that ended here, by their ids.
  std::deque<std::string> ends_;
  absl::Time renew_at_ = absl::InfiniteFuture();
  std::thread reader_;
  std::thread writer_;
};

}  // namespace

std::string LinkActor(const std::string& address) { return absl::StrCat("controller:", address); }

std::unique_ptr<Link> Link::Start(LinkOptions options, Mailbox& mailbox, const Clock& clock) {
  return std::make_unique<GrpcLink>(std::move(options), mailbox, clock);
}

}  // namespace postern
