#include "agent/rpc/stream_call.h"

#include <grpcpp/alarm.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "agent/rpc/errors.h"
#include "common/grpc/peer.h"
#include "common/status.h"

namespace postern {
namespace {

// How long a reader that has been given up may take to read what is on its way,
// and so learn why.
constexpr std::chrono::seconds kLastWords{10};

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

// Lives from the wait for a call to the last event of that call.
class StreamCall final : public OpenCall {
 public:
  StreamCall(ServingSide& side, const StreamMethod& method)
      : count_(side.calls),
        side_(side),
        method_(method),
        link_(std::make_shared<CallLink>(*this)) {}
  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;
  ~StreamCall() = default;

  void Await() {
    context_.AsyncNotifyWhenDone(done_.ForQueue());
    method_.request(side_, &context_, &request_, &writer_, called_.ForQueue());
  }

  // There may be something new to send. The work is left to the queue's threads:
  // this one has other things to do.
  void Wake() {
    const std::lock_guard lock(mutex_);
    if (wake_pending_ || finished_ || (operating_ && !source_->HasEnded())) return;
    wake_pending_ = true;
    // A time that has passed: at once, without the timer thread.
    SetAlarm(wake_alarm_, std::chrono::system_clock::time_point(), woken_.ForQueue());
  }

  void Abandon(const absl::Status& status) override {
    const std::lock_guard lock(mutex_);
    if (!end_) end_ = status;
    Advance();
  }

  void Recheck() override {
    if (!method_.role) return;
    const absl::StatusOr<Caller> caller = Authenticate(side_, context_, method_.name, method_.role);
    if (!caller.ok()) Abandon(caller.status());
  }

 private:
  // `ok` is false when the server stops before a call came; then done_ does not
  // come either.
  void OnCalled(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    AwaitStream(side_, method_);
    const std::lock_guard lock(mutex_);
    pending_ = 1;  // done_
    absl::Status status = side_.open.Add(link_);
    if (status.ok()) status = Open();
    if (!status.ok()) end_ = std::move(status);
    Advance();
  }

  absl::Status Open() {
    const absl::StatusOr<Caller> caller = Authenticate(side_, context_, method_.name, method_.role);
    if (!caller.ok()) return caller.status();
    if (method_.role) on_.emplace(side_.context.connections, EndpointOfPeer(context_.peer()));
    POSTERN_ASSIGN_OR_RETURN(place_, side_.streams.Take(PeerForPlace()));
    absl::StatusOr<std::shared_ptr<StreamSource>> source = method_.open(
        side_.context, request_,
        [link = link_] { link->With<StreamCall>([](StreamCall& call) { call.Wake(); }); });
    if (!source.ok()) return source.status();
    source_ = *std::move(source);
    return absl::OkStatus();
  }

  // Whose stream it counts as: also of a method that needs no role, the peer's that
  // has one.
  std::string PeerForPlace() const {
    const absl::StatusOr<Caller> known = Authenticate(side_, context_, method_.name, Role::kViewer);
    return known.ok() ? known->peer.name : "";
  }

  // Starts the next operation, if none is on its way. With mutex_.
  void Advance() {
    if (operating_ || finished_) return;
    if (!end_ && context_done_) end_ = absl::CancelledError("the reader has gone");
    StreamSource::Next next;
    if (!end_) {
      next = source_->Take();
      end_ = std::move(next.end);
    }
    if (end_) {
      last_operation_ = true;
      Operate();
      if (method_.role) side_.context.answered.Add(method_.name, end_->code());
      writer_.Finish(ToGrpcStatus(*end_), operated_.ForQueue());
    } else if (next.message != nullptr) {
      told_ = true;
      Operate();
      writer_.Write(ToBuffer(*next.message), operated_.ForQueue());
    } else if (next.subscribed && !told_) {
      told_ = true;
      Operate();
      writer_.SendInitialMetadata(operated_.ForQueue());
    }
  }

  void Operate() {
    operating_ = true;
    ++pending_;
  }

  void SetAlarm(grpc::Alarm& alarm, std::chrono::system_clock::time_point when, void* tag) {
    ++pending_;
    alarm.Set(side_.queue.get(), when, tag);
  }

  // ---- Events. Each ends by leaving the call to whoever sees the last one.

  void OnOperated(bool /*ok*/) {
    // An operation that failed means that the call is over, which done_ tells.
    Step([this] {
      operating_ = false;
      finished_ = last_operation_;
      if (finished_ && giving_up_) give_up_alarm_.Cancel();
      Advance();
    });
  }

  void OnDone(bool /*ok*/) {
    Step([this] {
      context_done_ = true;
      Advance();
    });
  }

  void OnWoken(bool /*ok*/) {
    Step([this] {
      wake_pending_ = false;
      Advance();
      // A write that does not end stands between the reader and its last words.
      if (!operating_ || last_operation_ || giving_up_ || !source_->HasEnded()) return;
      giving_up_ = true;
      SetAlarm(give_up_alarm_, std::chrono::system_clock::now() + kLastWords, given_up_.ForQueue());
    });
  }

  void OnGivenUp(bool ok) {
    Step([this, ok] {
      if (ok && !finished_) context_.TryCancel();
    });
  }

  template <typename F>
  void Step(F step) {
    {
      const std::lock_guard lock(mutex_);
      --pending_;
      step();
      if (!finished_ || pending_ > 0) return;
    }
    side_.open.Remove(link_);
    link_->Cut();
    delete this;
  }

  // First, so that it outlives the rest.
  const CallCount::Guard count_;
  ServingSide& side_;
  const StreamMethod& method_;
  const std::shared_ptr<CallLink> link_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  // Its connection is in use.
  std::optional<ConnectionTable::Call> on_;
  std::unique_ptr<StreamTable::Place> place_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_{&context_};
  grpc::Alarm wake_alarm_;
  grpc::Alarm give_up_alarm_;
  StepTag<StreamCall> called_{*this, &StreamCall::OnCalled};
  StepTag<StreamCall> operated_{*this, &StreamCall::OnOperated};
  StepTag<StreamCall> done_{*this, &StreamCall::OnDone};
  StepTag<StreamCall> woken_{*this, &StreamCall::OnWoken};
  StepTag<StreamCall> given_up_{*this, &StreamCall::OnGivenUp};

  std::mutex mutex_;
  std::shared_ptr<StreamSource> source_;
  // Events of the queue that are still to come.
  int pending_ = 0;
  // The reader has heard of us: initial metadata have been sent.
  bool told_ = false;
  bool operating_ = false;
  bool last_operation_ = false;
  bool finished_ = false;
  bool context_done_ = false;
  bool wake_pending_ = false;
  bool giving_up_ = false;
  std::optional<absl::Status> end_;
};

}  // namespace

void AwaitStream(ServingSide& side, const StreamMethod& method) {
  (new StreamCall(side, method))->Await();
}

}  // namespace postern
