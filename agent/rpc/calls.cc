#include "agent/rpc/calls.h"

#include <functional>
#include <utility>

#include "agent/rpc/stream_call.h"
#include "agent/rpc/unary_call.h"
#include "common/grpc/peer.h"

namespace postern {
namespace {

namespace health = grpc::health::v1;

CertificateNames NamesOf(const grpc::ServerContext& context) {
  CertificateNames names;
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return names;
  for (const grpc::string_ref& uri : auth->FindPropertyValues("peer_uri")) {
    names.uris.emplace_back(uri.data(), uri.size());
  }
  for (const grpc::string_ref& name : auth->FindPropertyValues("peer_dns")) {
    names.dns_names.emplace_back(name.data(), name.size());
  }
  return names;
}

// ---- Methods of AgentService

template <typename Request, typename Reply>
void Serve(const CallContext& context, const Caller& caller, grpc::ByteBuffer& bytes,
           const UnaryReply& reply) {
  const absl::StatusOr<Request> request = Parse<Request>(bytes);
  if (!request.ok()) {
    reply.Fail(request.status());
    return;
  }
  context.api.Call(caller, *request,
                   [reply](const absl::StatusOr<Reply>& answer) { reply.Send(answer); });
}

template <auto kRequest>
void RequestUnary(ServingSide& side, grpc::ServerContext* context, grpc::ByteBuffer* request,
                  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* writer, void* tag) {
  (side.agent.*kRequest)(context, request, writer, side.queue.get(), side.queue.get(), tag);
}

template <auto kRequest, typename Request, typename Reply>
constexpr UnaryMethod AgentMethod(absl::string_view name, Role role) {
  return {.name = name,
          .role = role,
          .request = RequestUnary<kRequest>,
          .serve = Serve<Request, Reply>};
}

constexpr UnaryMethod kAgentMethods[] = {
    AgentMethod<&RawAgentService::RequestCreateGrant, v1::CreateGrantRequest, v1::Grant>(
        "CreateGrant", Role::kOperator),
    AgentMethod<&RawAgentService::RequestExtendGrant, v1::ExtendGrantRequest, v1::Grant>(
        "ExtendGrant", Role::kOperator),
    AgentMethod<&RawAgentService::RequestMoveGrant, v1::MoveGrantRequest, v1::Grant>(
        "MoveGrant", Role::kOperator),
    AgentMethod<&RawAgentService::RequestRevokeGrant, v1::RevokeGrantRequest, v1::Grant>(
        "RevokeGrant", Role::kOperator),
    AgentMethod<&RawAgentService::RequestGetGrant, v1::GetGrantRequest, v1::Grant>("GetGrant",
                                                                                   Role::kViewer),
    AgentMethod<&RawAgentService::RequestListGrants, v1::ListGrantsRequest, v1::ListGrantsResponse>(
        "ListGrants", Role::kViewer),
    AgentMethod<&RawAgentService::RequestCheckAccess, v1::CheckAccessRequest,
                v1::CheckAccessResponse>("CheckAccess", Role::kViewer),
    AgentMethod<&RawAgentService::RequestGetStatus, v1::GetStatusRequest, v1::GetStatusResponse>(
        "GetStatus", Role::kViewer),
    AgentMethod<&RawAgentService::RequestListAuditEvents, v1::ListAuditEventsRequest,
                v1::ListAuditEventsResponse>("ListAuditEvents", Role::kViewer),
    AgentMethod<&RawAgentService::RequestDiagnose, v1::DiagnoseRequest, v1::DiagnoseResponse>(
        "Diagnose", Role::kViewer),
    AgentMethod<&RawAgentService::RequestListDenied, v1::ListDeniedRequest, v1::ListDeniedResponse>(
        "ListDenied", Role::kViewer),
    AgentMethod<&RawAgentService::RequestLockdown, v1::LockdownRequest, v1::LockdownResponse>(
        "Lockdown", Role::kController),
    AgentMethod<&RawAgentService::RequestLiftLockdown, v1::LiftLockdownRequest,
                v1::LiftLockdownResponse>("LiftLockdown", Role::kController),
    AgentMethod<&RawAgentService::RequestArm, v1::ArmRequest, v1::ArmResponse>("Arm",
                                                                               Role::kController),
    AgentMethod<&RawAgentService::RequestConfirm, v1::ConfirmRequest, v1::ConfirmResponse>(
        "Confirm", Role::kController),
    AgentMethod<&RawAgentService::RequestDisarm, v1::DisarmRequest, v1::DisarmResponse>(
        "Disarm", Role::kController),
};

absl::StatusOr<std::shared_ptr<StreamSource>> OpenWatchEvents(const CallContext& context,
                                                              grpc::ByteBuffer& bytes,
                                                              const std::function<void()>& wake) {
  const absl::StatusOr<v1::WatchEventsRequest> request = Parse<v1::WatchEventsRequest>(bytes);
  if (!request.ok()) return request.status();
  return context.watchers.Add(request->after_number(), wake);
}

constexpr StreamMethod kWatchEvents = {
    .name = "WatchEvents",
    .role = Role::kViewer,
    .request =
        [](ServingSide& side, grpc::ServerContext* context, grpc::ByteBuffer* request,
           grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer, void* tag) {
          side.agent.RequestWatchEvents(context, request, writer, side.queue.get(),
                                        side.queue.get(), tag);
        },
    .open = OpenWatchEvents,
};

// ---- The health service. While the agent runs, it serves.

health::HealthCheckResponse HealthOf(const std::string& service) {
  const bool known = service.empty() || service == v1::AgentService::service_full_name();
  health::HealthCheckResponse response;
  response.set_status(known ? health::HealthCheckResponse::SERVING
                            : health::HealthCheckResponse::SERVICE_UNKNOWN);
  return response;
}

void ServeHealthCheck(const CallContext& /*context*/, const Caller& /*caller*/,
                      grpc::ByteBuffer& bytes, const UnaryReply& reply) {
  const absl::StatusOr<health::HealthCheckRequest> request =
      Parse<health::HealthCheckRequest>(bytes);
  if (!request.ok()) {
    reply.Fail(request.status());
    return;
  }
  const health::HealthCheckResponse response = HealthOf(request->service());
  if (response.status() == health::HealthCheckResponse::SERVICE_UNKNOWN) {
    reply.Fail(absl::NotFoundError("there is no such service here"));
    return;
  }
  reply.Send(absl::StatusOr<health::HealthCheckResponse>(response));
}

constexpr UnaryMethod kHealthCheck = {
    .name = "Check",
    .role = std::nullopt,
    .request =
        [](ServingSide& side, grpc::ServerContext* context, grpc::ByteBuffer* request,
           grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* writer, void* tag) {
          side.health.RequestCheck(context, request, writer, side.queue.get(), side.queue.get(),
                                   tag);
        },
    .serve = ServeHealthCheck,
};

// The status, once: it does not change while the server is there to tell.
class HealthWatch final : public StreamSource {
 public:
  explicit HealthWatch(const std::string& service)
      : message_(std::make_shared<const std::string>(HealthOf(service).SerializeAsString())) {}

  Next Take() override {
    return {.subscribed = true, .message = std::exchange(message_, nullptr), .end = std::nullopt};
  }
  bool HasEnded() override { return false; }

 private:
  Message message_;
};

constexpr StreamMethod kHealthWatch = {
    .name = "Watch",
    .role = std::nullopt,
    .request =
        [](ServingSide& side, grpc::ServerContext* context, grpc::ByteBuffer* request,
           grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer, void* tag) {
          side.health.RequestWatch(context, request, writer, side.queue.get(), side.queue.get(),
                                   tag);
        },
    .open =
        [](const CallContext& /*context*/, grpc::ByteBuffer& bytes,
           const std::function<void()>& /*wake*/) -> absl::StatusOr<std::shared_ptr<StreamSource>> {
      const absl::StatusOr<health::HealthCheckRequest> request =
          Parse<health::HealthCheckRequest>(bytes);
      if (!request.ok()) return request.status();
      return std::make_shared<HealthWatch>(request->service());
    },
};

}  // namespace

absl::Status OpenCalls::Add(const std::shared_ptr<CallLink>& link) {
  const std::lock_guard lock(mutex_);
  links_.insert(link);
  return closed_;
}

void OpenCalls::Remove(const std::shared_ptr<CallLink>& link) {
  const std::lock_guard lock(mutex_);
  links_.erase(link);
}

size_t OpenCalls::size() const {
  const std::lock_guard lock(mutex_);
  return links_.size();
}

std::unordered_set<std::shared_ptr<CallLink>> OpenCalls::Copy() const {
  const std::lock_guard lock(mutex_);
  return links_;
}

void OpenCalls::Close(const absl::Status& reason) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = reason;
  }
  for (const std::shared_ptr<CallLink>& link : Copy()) {
    link->With<OpenCall>([&](OpenCall& call) { call.Abandon(reason); });
  }
}

void OpenCalls::RecheckAll() {
  for (const std::shared_ptr<CallLink>& link : Copy()) {
    link->With<OpenCall>([](OpenCall& call) { call.Recheck(); });
  }
}

void CallCount::AwaitNone() {
  std::unique_lock lock(mutex_);
  none_.wait(lock, [this] { return count_ == 0; });
}

void CallCount::Add(int more) {
  const std::lock_guard lock(mutex_);
  count_ += more;
  if (count_ == 0) none_.notify_all();
}

absl::StatusOr<Caller> Authenticate(const ServingSide& side, const grpc::ServerContext& context,
                                    absl::string_view call, const std::optional<Role>& role) {
  Caller caller;
  if (side.local) {
    caller.peer = LocalPeer();
    return caller;
  }
  if (const std::optional<Endpoint> peer = EndpointOfPeer(context.peer())) {
    caller.address = peer->address;
  }
  if (!role) return caller;
  const std::shared_ptr<const Settings> settings = side.context.settings.Get();
  const std::vector<PeerRule> nobody;
  const auto& listen = settings->config.listen;
  absl::StatusOr<Peer> peer = ResolvePeer(NamesOf(context), listen ? listen->peers : nobody);
  if (!peer.ok()) return peer.status();
  const absl::Status allowed = CheckRole(*peer, *role, call);
  if (!allowed.ok()) return allowed;
  caller.peer = *std::move(peer);
  return caller;
}

void AwaitCalls(ServingSide& side) {
  for (const UnaryMethod& method : kAgentMethods) AwaitUnary(side, method);
  AwaitStream(side, kWatchEvents);
  AwaitUnary(side, kHealthCheck);
  AwaitStream(side, kHealthWatch);
}

}  // namespace postern
