#include "agent/link/link.h"

#include <grpcpp/grpcpp.h>
#include <postern/v1/controller.grpc.pb.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/link/applier.h"
#include "agent/link/channel.h"
#include "agent/link/end_queue.h"
#include "agent/link/enrolment.h"
#include "agent/link/hello.h"
#include "agent/link/link_status.h"
#include "agent/link/plan.h"
#include "agent/link/told_usage.h"
#include "common/status.h"

namespace postern {
namespace {

using Stream = grpc::ClientReaderWriter<v1::AgentMessage, v1::WantedState>;

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(2);
// At the latest it is looked again whether the certificate has to be renewed, and
// a renewal that failed is tried again.
constexpr absl::Duration kRenewLook = absl::Hours(1);
// How often the usage of live grants is told, at most.
constexpr absl::Duration kUsageInterval = absl::Minutes(5);

// One stream and what it needs to live.
struct Session {
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  std::unique_ptr<v1::ControllerService::Stub> stub;
  std::unique_ptr<Stream> stream;
};

// The latest wanted state of a stream, and how far it is done.
struct Wanted {
  WantedGrants grants = {};
  BootTime came = {};
  // What the controller was told last to be pending; empty before it was told anything.
  std::optional<std::set<std::string>> pending = {};
  std::optional<BootTime> retry_at = {};
  absl::Duration retry_pause = kFirstPause;
};

class GrpcLink final : public Link {
 public:
  GrpcLink(LinkOptions options, Mailbox& mailbox, const Clock& clock)
      : options_(std::move(options)),
        mailbox_(mailbox),
        clock_(clock),
        status_(clock, options_.changed),
        enrolment_(options_.controller, options_.state_dir, options_.name),
        applier_(absl::StrCat(kControllerActors, options_.controller.address), mailbox, clock,
                 options_.read_mapped) {
    reader_ = std::thread([this] { Dial(); });
    writer_ = std::thread([this] { WriteAll(); });
  }

  ~GrpcLink() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      if (session_ != nullptr) session_->context.TryCancel();
      wake_.notify_all();
    }
    enrolment_.Cancel();
    reader_.join();
    writer_.join();
  }

  LinkState state() const override { return status_.Read(); }

  void OnEvent(const AuditEvent& event) override {
    switch (event.kind) {
      case AuditKind::kGrantExpired:
      case AuditKind::kGrantRevoked:
        return TellEnd(event.grant_id);
      case AuditKind::kGrantsRestored:
        return ApplyAgain();
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

  void OnAlarm() override {
    const std::lock_guard lock(mutex_);
    const BootTime now = clock_.Read().boot;
    if (!HasTold() || now < usage_told_at_ + kUsageInterval) return;
    usage_told_at_ = now;
    usage_due_ = true;
    wake_.notify_all();
  }

 private:
  // The reader: dials, and takes what the controller wants.
  void Dial() {
    absl::Duration pause = kFirstPause;
    std::mt19937 random{std::random_device{}()};
    while (!stopping()) {
      const BootTime began = clock_.Read().boot;
      const absl::Status ended = Attach();
      // One that held for a while was no failure to dial.
      if (clock_.Read().boot - began > kLongestPause) pause = kFirstPause;
      if (!stopping()) status_.SetDetached(ended);
      Pause(pause * std::uniform_real_distribution<double>(0.5, 1.0)(random));
      pause = std::min(pause * 2, kLongestPause);
    }
  }

  absl::Status Attach() {
    POSTERN_ASSIGN_OR_RETURN(const LinkIdentity identity, enrolment_.Identity(clock_.Read().wall));
    auto session = std::make_shared<Session>();
    session->channel = ChannelTo(options_.controller.address, identity.authorities, &identity);
    session->stub = v1::ControllerService::NewStub(session->channel);
    POSTERN_ASSIGN_OR_RETURN(const v1::AgentMessage hello, HelloOf(options_, mailbox_, clock_));
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return absl::CancelledError("posternd stops");
      session->stream = session->stub->Attach(&session->context);
      session_ = session;
      renew_at_ = identity.renew_at;
      outbox_.clear();
      // What was on its way on the former stream may not have come.
      told_usage_ = {};
      told_revision_ = 0;
      outbox_.push_back(hello);
      wake_.notify_all();
    }
    v1::WantedState wanted;
    absl::Status status;
    while (status.ok() && session->stream->Read(&wanted)) status = Take(wanted);
    {
      std::unique_lock lock(mutex_);
      session_ = nullptr;
      wanted_ = nullptr;
      // One that the controller has ended says why.
      if (!status.ok()) session->context.TryCancel();
      // The writer lets go of it before it is finished.
      wake_.wait(lock, [this] { return !writing_; });
    }
    const absl::Status finished = FromGrpc(session->stream->Finish());
    if (!status.ok()) return status;
    if (absl::IsPermissionDenied(finished)) {
      return HowToEnrolAgain(options_.state_dir, finished);
    }
    return finished.ok() ? absl::UnavailableError("the controller ended the stream") : finished;
  }

  absl::Status Take(const v1::WantedState& state) {
    const BootTime came = clock_.Read().boot;
    POSTERN_ASSIGN_OR_RETURN(WantedGrants grants, ReadWanted(state));
    status_.SetAttached();
    {
      const std::lock_guard lock(mutex_);
      wanted_ = std::make_shared<Wanted>(Wanted{.grants = std::move(grants), .came = came});
    }
    ApplyWanted();
    return absl::OkStatus();
  }

  // By the reader when a state comes, and by the writer when it is time to try
  // again: a failure that lasts keeps no later state waiting.
  void ApplyWanted() {
    const std::lock_guard applying(applying_);
    std::shared_ptr<Wanted> wanted;
    {
      const std::lock_guard lock(mutex_);
      wanted = wanted_;
      if (wanted == nullptr) return;
      wanted->retry_at.reset();
    }
    const absl::StatusOr<Applied> applied = applier_.Apply(wanted->grants, wanted->came);
    {
      const std::lock_guard lock(mutex_);
      // The stream has ended, or a later state tells of everything again.
      if (wanted != wanted_) return;
      Tell(applied, *wanted);
      wake_.notify_all();
    }
    options_.changed();
  }

  // With mutex_ held.
  void Tell(const absl::StatusOr<Applied>& applied, Wanted& wanted) {
    const bool done = applied.ok() && applied->pending.empty();
    if (!done) {
      wanted.retry_at = clock_.Read().boot + wanted.retry_pause;
      wanted.retry_pause = std::min(wanted.retry_pause * 2, kLongestPause);
    }
    if (done) told_revision_ = wanted.grants.revision;
    status_.SetApplied(done ? std::optional(wanted.grants.revision) : std::nullopt,
                       applied.ok() ? applied->trouble : applied.status().message());
    if (!applied.ok() || wanted.pending == applied->pending) return;
    wanted.pending = applied->pending;
    v1::AgentMessage message;
    message.mutable_applied()->set_revision(told_revision_);
    for (const auto& [id, report] : applied->reports) {
      v1::GrantReport& told = *message.mutable_applied()->add_grants();
      told = report;
      if (!applied->pending.contains(id)) told.set_revision(wanted.grants.revision);
    }
    outbox_.push_back(std::move(message));
  }

  // The writer: hello, what was applied, and ends as they come; what is due by the
  // clock.
  void WriteAll() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (session_ != nullptr && HasMessage()) {
        Write(lock);
      } else if (session_ != nullptr && clock_.Read().wall >= renew_at_) {
        Renew(lock);
      } else if (IsRetryDue()) {
        lock.unlock();
        ApplyWanted();
        lock.lock();
      } else if (usage_due_ && HasTold()) {
        TellUsage(lock);
      } else {
        wake_.wait_for(lock, absl::ToChronoMilliseconds(UntilDue()));
      }
    }
  }

  // These with mutex_ held.
  bool HasMessage() const {
    return !outbox_.empty() || (status_.attached() && ends_.due() <= clock_.Read().boot);
  }
  // The stream has told what became of what is wanted.
  bool HasTold() const { return wanted_ != nullptr && wanted_->pending; }
  bool IsRetryDue() const {
    return wanted_ != nullptr && wanted_->retry_at && *wanted_->retry_at <= clock_.Read().boot;
  }
  absl::Duration UntilDue() const {
    const Now now = clock_.Read();
    absl::Duration wait = kRenewLook;
    if (session_ != nullptr) wait = std::min(wait, renew_at_ - now.wall);
    if (wanted_ != nullptr && wanted_->retry_at) {
      wait = std::min(wait, *wanted_->retry_at - now.boot);
    }
    if (session_ != nullptr && status_.attached()) {
      wait = std::min(wait, ends_.due() - now.boot);
    }
    return std::max(wait, absl::Milliseconds(1));
  }

  void Write(std::unique_lock<std::mutex>& lock) {
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

  // What could not be read or written stays, for later or the next stream.
  void WriteEnd(Session& session, std::unique_lock<std::mutex>& lock) {
    const std::string id = ends_.Next();
    const uint64_t revision = told_revision_;
    lock.unlock();
    const absl::StatusOr<v1::GrantReport> report = applier_.Report(id);
    bool written = true;
    if (report.ok()) {
      v1::AgentMessage message;
      message.mutable_applied()->set_revision(revision);
      *message.mutable_applied()->add_grants() = *report;
      written = session.stream->Write(message);
    }
    lock.lock();
    if (!written) {
      if (session_.get() == &session) session_ = nullptr;
    } else if (report.ok() || absl::IsNotFound(report.status())) {
      ends_.Remove(id);
    } else {
      ends_.Defer(id, clock_.Read().boot);
    }
  }

  void TellUsage(std::unique_lock<std::mutex>& lock) {
    usage_due_ = false;
    const std::shared_ptr<const Wanted> wanted = wanted_;
    v1::AgentMessage message;
    message.mutable_applied()->set_revision(told_revision_);
    lock.unlock();
    absl::StatusOr<std::vector<v1::GrantReport>> usage = applier_.Usage(wanted->grants);
    lock.lock();
    // What is not told now is told at the next look.
    if (!usage.ok() || wanted != wanted_) return;
    for (v1::GrantReport& report : told_usage_.News(*std::move(usage))) {
      *message.mutable_applied()->add_grants() = std::move(report);
    }
    if (message.applied().grants_size() > 0) outbox_.push_back(std::move(message));
  }

  void Renew(std::unique_lock<std::mutex>& lock) {
    const std::shared_ptr<Session> session = session_;
    renew_at_ = clock_.Read().wall + kRenewLook;
    lock.unlock();
    const absl::StatusOr<LinkIdentity> identity = enrolment_.Renew(*session->stub);
    if (!identity.ok()) status_.SetProblem(Annotate(identity.status(), "renewing").message());
    lock.lock();
    // The next stream is with the new one.
    if (identity.ok()) session->context.TryCancel();
  }

  void TellEnd(const std::string& id) {
    const std::lock_guard lock(mutex_);
    ends_.Add(id);
    // What the wanted state has waited for.
    if (wanted_ != nullptr && wanted_->pending && wanted_->pending->contains(id)) {
      wanted_->retry_at = clock_.Read().boot;
    }
    wake_.notify_all();
  }

  void ApplyAgain() {
    const std::lock_guard lock(mutex_);
    if (wanted_ != nullptr && wanted_->retry_at) wanted_->retry_at = clock_.Read().boot;
    wake_.notify_all();
  }

  void Redial() {
    const std::lock_guard lock(mutex_);
    if (session_ != nullptr) session_->context.TryCancel();
  }

  // Ends early when the link does.
  void Pause(absl::Duration pause) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, absl::ToChronoMilliseconds(pause), [this] { return stopping_; });
  }

  bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  const LinkOptions options_;
  Mailbox& mailbox_;
  const Clock& clock_;
  LinkStatus status_;
  Enrolment enrolment_;
  // Held while a state is applied; before mutex_.
  std::mutex applying_;
  Applier applier_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::shared_ptr<Session> session_;
  // Null without a stream, and until it has told one.
  std::shared_ptr<Wanted> wanted_;
  bool writing_ = false;
  std::deque<v1::AgentMessage> outbox_;
  // Grants that ended here.
  EndQueue ends_;
  // Of the wanted state whose changes this stream has told, all of them; 0 before.
  uint64_t told_revision_ = 0;
  ToldUsage told_usage_;
  BootTime usage_told_at_ = BootTime(-absl::InfiniteDuration());
  bool usage_due_ = false;
  absl::Time renew_at_ = absl::InfiniteFuture();
  std::thread reader_;
  std::thread writer_;
};

}  // namespace

std::unique_ptr<Link> Link::Start(LinkOptions options, Mailbox& mailbox, const Clock& clock) {
  return std::make_unique<GrpcLink>(std::move(options), mailbox, clock);
}

}  // namespace postern
