#include "agent/rpc/unary_call.h"

#include "agent/rpc/errors.h"
#include "common/grpc/peer.h"

namespace postern {

// Lives from the wait for a call to the last event of that call.
class UnaryCall final : public OpenCall {
 public:
  UnaryCall(ServingSide& side, const UnaryMethod& method)
      : count_(side.calls),
        side_(side),
        method_(method),
        link_(std::make_shared<CallLink>(*this)) {}
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;
  ~UnaryCall() = default;

  void Await() { method_.request(side_, &context_, &request_, &writer_, called_.ForQueue()); }

  // Within link_.
  void Finish(const absl::Status& status, const grpc::ByteBuffer& bytes) {
    if (answered_) return;
    answered_ = true;
    if (method_.role) side_.context.answered.Add(method_.name, status.code());
    if (status.ok()) {
      writer_.Finish(bytes, grpc::Status::OK, finished_.ForQueue());
    } else {
      writer_.FinishWithError(ToGrpcStatus(status), finished_.ForQueue());
    }
  }

  void Abandon(const absl::Status& status) override { Finish(status, {}); }
  // It ends by itself.
  void Recheck() override {}

 private:
  // `ok` is false when the server stops before a call came.
  void OnCalled(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    AwaitUnary(side_, method_);
    const absl::Status open = side_.open.Add(link_);
    // Once answered, the call may end, and be destroyed, on another thread.
    const UnaryReply reply(link_);
    if (!open.ok()) return reply.Fail(open);
    const absl::StatusOr<Caller> caller = Authenticate(side_, context_, method_.name, method_.role);
    if (!caller.ok()) return reply.Fail(caller.status());
    if (method_.role) on_.emplace(side_.context.connections, EndpointOfPeer(context_.peer()));
    method_.serve(side_.context, *caller, request_, reply);
  }

  void OnFinished(bool /*ok*/) {
    side_.open.Remove(link_);
    link_->Cut();
    delete this;
  }

  // First, so that it outlives the rest.
  const CallCount::Guard count_;
  ServingSide& side_;
  const UnaryMethod& method_;
  const std::shared_ptr<CallLink> link_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  // Its connection is in use.
  std::optional<ConnectionTable::Call> on_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> writer_{&context_};
  StepTag<UnaryCall> called_{*this, &UnaryCall::OnCalled};
  StepTag<UnaryCall> finished_{*this, &UnaryCall::OnFinished};
  // Guarded by link_.
  bool answered_ = false;
};

void UnaryReply::Fail(const absl::Status& status) const {
  link_->With<UnaryCall>([&](UnaryCall& call) { call.Finish(status, {}); });
}

void UnaryReply::Succeed(const grpc::ByteBuffer& bytes) const {
  link_->With<UnaryCall>([&](UnaryCall& call) { call.Finish(absl::OkStatus(), bytes); });
}

void AwaitUnary(ServingSide& side, const UnaryMethod& method) {
  (new UnaryCall(side, method))->Await();
}

}  // namespace postern
