#include "controller/fleet/streams.h"

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>

#include "common/status.h"
#include "common/uuid.h"
#include "controller/fleet/convert.h"
#include "controller/fleet/errors.h"

namespace postern::controller {
namespace {

// For what is being written when a stream ends.
constexpr std::chrono::seconds kPatience{1};

}  // namespace

// The stream of one VM. gRPC's threads call the On... functions; the store is read
// and written by the workers.
class Stream final : public grpc::ServerBidiReactor<v1::AgentMessage, v1::WantedState>,
                     public std::enable_shared_from_this<Stream> {
 public:
  Stream(Streams& streams, VmId vm, std::string serial, grpc::CallbackServerContext& context)
      : streams_(streams),
        who_{.vm = std::move(vm), .id = NewUuid()},
        serial_(std::move(serial)),
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
  // It was cut off while its hello was taken.
  bool IsDone() {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  void ReadWanted();
  // With mutex_ held: ends the stream once nothing is being written.
  void FinishIfIdle();
  void CutOffLater();

  Streams& streams_;
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
  bool done_ = false;
  std::optional<boost::asio::steady_timer> patience_;
  std::optional<absl::Status> end_;
  v1::WantedState state_;
  std::optional<uint64_t> sent_revision_;
};

void Stream::OnReadDone(bool ok) {
  if (!ok) return End(absl::OkStatus());
  streams_.Post([self = shared_from_this()] {
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
                             controller::FactsOf(message.hello(), streams_.clock_.Read().wall));
    POSTERN_RETURN_IF_ERROR(streams_.Told(streams_.fleet_.Attached(who_, serial_, facts)));
    attached_ = true;
    streams_.Register(shared_from_this());
    if (IsDone()) streams_.Forget(*this);
    Check();
    return absl::OkStatus();
  }
  if (!message.has_applied()) return absl::InvalidArgumentError("a message says nothing");
  POSTERN_ASSIGN_OR_RETURN(const Report report, ReportOf(message.applied()));
  return streams_.Told(streams_.fleet_.Take(who_, report));
}

void Stream::Check(std::optional<uint64_t> revision) {
  const std::lock_guard lock(mutex_);
  if (revision && revision == sent_revision_) return;
  check_wanted_ = true;
  if (busy_ || end_) return;
  busy_ = true;
  streams_.Post([self = shared_from_this()] { self->ReadWanted(); });
}

void Stream::ReadWanted() {
  {
    const std::lock_guard lock(mutex_);
    check_wanted_ = false;
  }
  const absl::StatusOr<Wanted> wanted = streams_.fleet_.WantedOf(who_);
  const std::lock_guard lock(mutex_);
  busy_ = false;
  if (end_) return;
  if (!wanted.ok()) {
    end_ = streams_.Told(wanted.status());
    return FinishIfIdle();
  }
  if (sent_revision_ != static_cast<uint64_t>(wanted->revision)) {
    state_ = ToProto(*wanted, streams_.clock_.Read().wall);
    sent_revision_ = state_.revision();
    busy_ = true;
    writing_ = true;
    StartWrite(&state_);
  } else if (check_wanted_) {
    busy_ = true;
    streams_.Post([self = shared_from_this()] { self->ReadWanted(); });
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
  streams_.Post([self = shared_from_this()] { self->ReadWanted(); });
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
  patience_.emplace(streams_.workers_.get_executor(), kPatience);
  patience_->async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    const std::lock_guard lock(self->mutex_);
    if (!error && !self->finished_) self->context_.TryCancel();
  });
}

void Stream::OnDone() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  streams_.Forget(*this);
  // Whoever still holds it lets it go; gRPC calls nothing any more.
  const std::shared_ptr<Stream> self = std::exchange(self_, nullptr);
}

Streams::Streams(FleetService& fleet, const Clock& clock, size_t workers,
                 std::function<void(const std::string&)> report)
    : fleet_(fleet), clock_(clock), report_(std::move(report)), workers_(workers) {}

Streams::~Streams() {
  workers_.join();
  // All in one: a commit for each keeps those waiting who wait for the next start.
  if (!ended_.empty()) Report(fleet_.Detached(ended_));
}

grpc::ServerBidiReactor<v1::AgentMessage, v1::WantedState>* Streams::Open(
    absl::StatusOr<VmId> vm, const std::string& serial, grpc::CallbackServerContext& context) {
  const auto stream = std::make_shared<Stream>(*this, vm.ok() ? *vm : VmId{}, serial, context);
  stream->Begin();
  if (!vm.ok()) stream->End(vm.status());
  return stream.get();
}

void Streams::Changed(const std::vector<std::string>& vm_keys) {
  for (const std::string& key : vm_keys) {
    if (const std::shared_ptr<Stream> stream = Find(key)) stream->Check();
  }
}

void Streams::CheckAll() {
  Post([this] {
    if (IsKeepAliveDue()) Report(fleet_.KeepAlive());
    const absl::StatusOr<std::map<std::string, int64_t>> revisions = fleet_.Revisions();
    if (!revisions.ok()) return Report(revisions.status());
    for (const auto& [key, stream] : All()) {
      const auto found = revisions->find(key);
      // One that is missing is told why its stream ends.
      stream->Check(found == revisions->end() ? std::optional<uint64_t>()
                                              : static_cast<uint64_t>(found->second));
    }
  });
}

size_t Streams::attached() const {
  const std::lock_guard lock(mutex_);
  return streams_.size();
}

void Streams::EndAll() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  for (const auto& [key, stream] : All()) {
    stream->End(absl::UnavailableError("the controller stops"));
  }
}

void Streams::Register(const std::shared_ptr<Stream>& stream) {
  std::shared_ptr<Stream> before;
  {
    const std::lock_guard lock(mutex_);
    before = std::exchange(streams_[stream->who().vm.Key()], stream);
  }
  if (before != nullptr) before->End(absl::AbortedError("the VM has attached another time"));
}

void Streams::Forget(const Stream& stream) {
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
  Post([this, ended = stream.who()] { Report(fleet_.Detached({ended})); });
}

std::shared_ptr<Stream> Streams::Find(const std::string& vm_key) const {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(vm_key);
  return found == streams_.end() ? nullptr : found->second;
}

std::map<std::string, std::shared_ptr<Stream>> Streams::All() const {
  const std::lock_guard lock(mutex_);
  return streams_;
}

absl::Status Streams::Told(const absl::Status& status) const { return ForCallers(status, report_); }

void Streams::Report(const absl::Status& status) const {
  if (!status.ok()) report_(std::string(status.message()));
}

bool Streams::IsKeepAliveDue() {
  const std::lock_guard lock(mutex_);
  const BootTime now = clock_.Read().boot;
  if (now - kept_alive_at_ < FleetService::kControllerGone / 4) return false;
  kept_alive_at_ = now;
  return true;
}

}  // namespace postern::controller
