#include "cli/client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/channel.h"
#include "cli/failure.h"
#include "common/duration.h"
#include "postern/v1/agent.grpc.pb.h"

namespace postern {
namespace {

// Cancels a call when a descriptor becomes readable, from a thread of its own.
class StopWatcher {
 public:
  StopWatcher(int stop_fd, grpc::ClientContext& context) : done_(eventfd(0, EFD_CLOEXEC)) {
    if (stop_fd < 0) return;
    thread_ = std::thread([this, stop_fd, &context] {
      pollfd fds[] = {{.fd = stop_fd, .events = POLLIN, .revents = 0},
                      {.fd = done_, .events = POLLIN, .revents = 0}};
      while (poll(fds, 2, -1) < 0 && errno == EINTR) {
      }
      if (fds[0].revents == 0) return;
      stopped_ = true;
      context.TryCancel();
    });
  }
  StopWatcher(const StopWatcher&) = delete;
  StopWatcher& operator=(const StopWatcher&) = delete;
  ~StopWatcher() {
    eventfd_write(done_, 1);
    if (thread_.joinable()) thread_.join();
    close(done_);
  }

  bool stopped() const { return stopped_; }

 private:
  int done_;
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

template <typename Agent>
class GrpcClient final : public AgentClient {
 public:
  GrpcClient(Agent agent, std::shared_ptr<grpc::Channel> channel, absl::Duration timeout)
      : agent_(std::move(agent)),
        channel_(std::move(channel)),
        stub_(v1::AgentService::NewStub(channel_)),
        timeout_(timeout) {}

  absl::StatusOr<v1::Grant> Create(const v1::CreateGrantRequest& request) override {
    return Call<v1::Grant>(&v1::AgentService::Stub::CreateGrant, request);
  }
  absl::StatusOr<v1::Grant> Extend(const v1::ExtendGrantRequest& request) override {
    return Call<v1::Grant>(&v1::AgentService::Stub::ExtendGrant, request);
  }
  absl::StatusOr<v1::Grant> Move(const v1::MoveGrantRequest& request) override {
    return Call<v1::Grant>(&v1::AgentService::Stub::MoveGrant, request);
  }
  absl::StatusOr<v1::Grant> Revoke(const v1::RevokeGrantRequest& request) override {
    return Call<v1::Grant>(&v1::AgentService::Stub::RevokeGrant, request);
  }
  absl::StatusOr<v1::ListGrantsResponse> List(const v1::ListGrantsRequest& request) override {
    return Call<v1::ListGrantsResponse>(&v1::AgentService::Stub::ListGrants, request);
  }
  absl::StatusOr<v1::CheckAccessResponse> Check(const v1::CheckAccessRequest& request) override {
    return Call<v1::CheckAccessResponse>(&v1::AgentService::Stub::CheckAccess, request);
  }
  absl::StatusOr<v1::GetStatusResponse> GetStatus() override {
    return Call<v1::GetStatusResponse>(&v1::AgentService::Stub::GetStatus, v1::GetStatusRequest());
  }
  absl::StatusOr<v1::ListAuditEventsResponse> ListAudit(
      const v1::ListAuditEventsRequest& request) override {
    return Call<v1::ListAuditEventsResponse>(&v1::AgentService::Stub::ListAuditEvents, request);
  }
  absl::StatusOr<v1::DiagnoseResponse> Diagnose() override {
    return Call<v1::DiagnoseResponse>(&v1::AgentService::Stub::Diagnose, v1::DiagnoseRequest());
  }
  absl::StatusOr<v1::ListDeniedResponse> ListDenied(const v1::ListDeniedRequest& request) override {
    return Call<v1::ListDeniedResponse>(&v1::AgentService::Stub::ListDenied, request);
  }
  absl::StatusOr<v1::LockdownResponse> Lockdown(const v1::LockdownRequest& request) override {
    return Call<v1::LockdownResponse>(&v1::AgentService::Stub::Lockdown, request);
  }
  absl::StatusOr<v1::LiftLockdownResponse> LiftLockdown() override {
    return Call<v1::LiftLockdownResponse>(&v1::AgentService::Stub::LiftLockdown,
                                          v1::LiftLockdownRequest());
  }
  absl::StatusOr<v1::ArmResponse> Arm(const v1::ArmRequest& request) override {
    return Call<v1::ArmResponse>(&v1::AgentService::Stub::Arm, request);
  }
  absl::StatusOr<v1::ConfirmResponse> Confirm() override {
    return Call<v1::ConfirmResponse>(&v1::AgentService::Stub::Confirm, v1::ConfirmRequest());
  }
  absl::StatusOr<v1::DisarmResponse> Disarm() override {
    return Call<v1::DisarmResponse>(&v1::AgentService::Stub::Disarm, v1::DisarmRequest());
  }

  absl::Status Watch(const v1::WatchEventsRequest& request, int stop_fd,
                     const std::function<bool(const v1::AuditEvent&)>& take) override {
    grpc::ClientContext context;
    const StopWatcher stop(stop_fd, context);
    const auto reader = stub_->WatchEvents(&context, request);
    v1::AuditEvent event;
    bool wanted = true;
    while (wanted && reader->Read(&event)) wanted = take(event);
    if (!wanted) context.TryCancel();
    const grpc::Status status = reader->Finish();
    if (!wanted || stop.stopped()) return absl::OkStatus();
    if (status.ok()) return absl::UnavailableError("the agent ended the stream of events");
    return Failure(status);
  }

 private:
  template <typename Response, typename Method, typename Request>
  absl::StatusOr<Response> Call(Method method, const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout_));
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (!status.ok()) return Failure(status);
    return response;
  }

  absl::Status Failure(const grpc::Status& status) const {
    const auto code = static_cast<absl::StatusCode>(status.error_code());
    const bool late = code == absl::StatusCode::kDeadlineExceeded;
    std::string message = status.error_message();
    if (late) message = absl::StrCat("no answer within ", DurationText(timeout_), " (--timeout)");
    // On a channel that stands, it was the agent itself that answered.
    const bool connected = channel_->GetState(false) == GRPC_CHANNEL_READY;
    std::string hint;
    if (!connected && (late || code == absl::StatusCode::kUnavailable)) {
      hint = WhyUnreachable(agent_);
    }
    // What the socket says of itself is all there is to know; of a remote agent
    // gRPC knows more.
    if (std::is_same_v<Agent, LocalAgent> && !hint.empty()) {
      message = std::exchange(hint, "");
    }
    return ServerFailure(code, message, status.error_details(), hint);
  }

  const Agent agent_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::AgentService::Stub> stub_;
  const absl::Duration timeout_;
};

}  // namespace

std::unique_ptr<AgentClient> CallLocal(const LocalAgent& agent, absl::Duration timeout) {
  return std::make_unique<GrpcClient<LocalAgent>>(agent, LocalChannel(agent), timeout);
}

std::unique_ptr<AgentClient> CallRemote(const RemoteAgent& agent, const Credentials& credentials,
                                        absl::Duration timeout) {
  return std::make_unique<GrpcClient<RemoteAgent>>(
      agent, RemoteChannel(agent, credentials, timeout), timeout);
}

}  // namespace postern
