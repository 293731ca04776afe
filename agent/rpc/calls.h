// gRPC's asynchronous calls: each call is an object that waits on a completion
// queue, step by step.
//
// The callback API would be shorter, but its threads (gRPC 1.51) sleep for 100 ms
// after each second without a call, and a call that comes then waits for them.

#ifndef POSTERN_AGENT_RPC_CALLS_H_
#define POSTERN_AGENT_RPC_CALLS_H_

#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <postern/v1/agent.grpc.pb.h>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/rpc/annotations.h"
#include "agent/rpc/answered_calls.h"
#include "agent/rpc/api.h"
#include "agent/rpc/connections.h"
#include "agent/rpc/settings.h"
#include "agent/rpc/streams.h"
#include "agent/rpc/watch.h"

namespace postern {

// What all calls share. Borrowed, for as long as a server lives.
struct CallContext {
  AgentApi& api;
  Watchers& watchers;
  const SharedSettings& settings;
  ConnectionTable& connections;
  AnsweredCallCounts& answered;
};

// Services whose messages are parsed here rather than in gRPC, which would call
// a request that it cannot read an internal error.
using RawGrantMethods = v1::AgentService::WithRawMethod_CreateGrant<
    v1::AgentService::WithRawMethod_ExtendGrant<v1::AgentService::WithRawMethod_MoveGrant<
        v1::AgentService::WithRawMethod_RevokeGrant<v1::AgentService::WithRawMethod_GetGrant<
            v1::AgentService::WithRawMethod_ListGrants<v1::AgentService::Service>>>>>>;
using RawReadingMethods = v1::AgentService::WithRawMethod_CheckAccess<
    v1::AgentService::WithRawMethod_GetStatus<v1::AgentService::WithRawMethod_ListAuditEvents<
        v1::AgentService::WithRawMethod_WatchEvents<v1::AgentService::WithRawMethod_Diagnose<
            v1::AgentService::WithRawMethod_ListDenied<RawGrantMethods>>>>>>;
using RawAgentService =
    v1::AgentService::WithRawMethod_Lockdown<v1::AgentService::WithRawMethod_LiftLockdown<
        v1::AgentService::WithRawMethod_Arm<v1::AgentService::WithRawMethod_Confirm<
            v1::AgentService::WithRawMethod_Disarm<RawReadingMethods>>>>>;
using RawHealthService = grpc::health::v1::Health::WithRawMethod_Check<
    grpc::health::v1::Health::WithRawMethod_Watch<grpc::health::v1::Health::Service>>;

// What waits on a completion queue.
class Tag {
 public:
  // This tag, for the operation that is started with it: the event may come, on
  // another thread, before the start returns.
  void* ForQueue() {
    AnnotateGiven(this);
    return this;
  }
  static Tag& FromQueue(void* tag) {
    AnnotateTaken(tag);
    return *static_cast<Tag*>(tag);
  }

  virtual void Proceed(bool ok) = 0;

 protected:
  ~Tag() = default;
};

// Leads to a step of the object that owns it.
template <typename Owner>
class StepTag final : public Tag {
 public:
  StepTag(Owner& owner, void (Owner::*step)(bool)) : owner_(owner), step_(step) {}
  void Proceed(bool ok) override { (owner_.*step_)(ok); }

 private:
  Owner& owner_;
  void (Owner::*step_)(bool);
};

// A call that a client has begun and that has no answer yet. Any thread.
class OpenCall {
 public:
  // Ends the call with `status`, unless it is ending already.
  virtual void Abandon(const absl::Status& status) = 0;
  // Ends the call when its peer is known no more.
  virtual void Recheck() = 0;

 protected:
  ~OpenCall() = default;
};

// The way to a call for those who may outlive it.
class CallLink {
 public:
  explicit CallLink(OpenCall& call) : call_(&call) {}

  // Runs `f` with the call, which stays meanwhile, or not at all.
  template <typename Call, typename F>
  void With(F f) {
    const std::lock_guard lock(mutex_);
    if (call_ != nullptr) f(static_cast<Call&>(*call_));
  }
  // The call is going. Afterwards nobody is in With.
  void Cut() {
    const std::lock_guard lock(mutex_);
    call_ = nullptr;
  }

 private:
  std::mutex mutex_;
  OpenCall* call_;
};

// The open calls of one server. Any thread.
class OpenCalls {
 public:
  // After Close, the reason why the call must end at once.
  absl::Status Add(const std::shared_ptr<CallLink>& link);
  void Remove(const std::shared_ptr<CallLink>& link);
  size_t size() const;

  // Abandons all calls, and those that come later.
  void Close(const absl::Status& reason);
  void RecheckAll();

 private:
  std::unordered_set<std::shared_ptr<CallLink>> Copy() const;

  mutable std::mutex mutex_;
  absl::Status closed_;
  std::unordered_set<std::shared_ptr<CallLink>> links_;
};

// The call objects there are: those that wait for a call as well as the open
// ones. Any thread.
class CallCount {
 public:
  // One of them.
  class Guard {
   public:
    explicit Guard(CallCount& count) : count_(count) { count_.Add(1); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() { count_.Add(-1); }

   private:
    CallCount& count_;
  };

  // Waits until there are none.
  void AwaitNone();

 private:
  void Add(int more);

  std::mutex mutex_;
  std::condition_variable none_;
  int count_ = 0;
};

// One server's services and its completion queue.
struct ServingSide {
  ServingSide(const CallContext& shared, bool is_local)
      : context(shared), local(is_local), streams(is_local ? kLocalStreams : kRemoteStreams) {}

  const CallContext& context;
  // Callers on the local socket are known by having opened it.
  const bool local;
  RawAgentService agent;
  RawHealthService health;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  OpenCalls open;
  CallCount calls;
  StreamTable streams;
};

// Who calls; UNAUTHENTICATED or PERMISSION_DENIED when they may not. A call whose
// `role` is empty is for whoever can connect.
absl::StatusOr<Caller> Authenticate(const ServingSide& side, const grpc::ServerContext& context,
                                    absl::string_view call, const std::optional<Role>& role);

inline constexpr size_t kMaxRequestBytes = size_t{1} << 20;

// Reads `bytes`; INVALID_ARGUMENT when they are not a `Request`, or too many.
template <typename Request>
absl::StatusOr<Request> Parse(grpc::ByteBuffer& bytes) {
  if (bytes.Length() > kMaxRequestBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the request has ", bytes.Length(),
                                                   " bytes; at most ", kMaxRequestBytes,
                                                   " are taken, far more than any of ours needs"));
  }
  Request request;
  if (grpc::SerializationTraits<Request>::Deserialize(&bytes, &request).ok()) return request;
  return absl::InvalidArgumentError(
      absl::StrCat("the request is not a ", Request::descriptor()->full_name(),
                   ": it is cut short, or a text in it is not UTF-8"));
}

// Begins to take calls of every method. When the server has been shut down, the
// queue must stay open until `side.calls` are none.
void AwaitCalls(ServingSide& side);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_CALLS_H_
