#include "agent/rpc/grpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <pthread.h>

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/rpc/calls.h"
#include "common/grpc/tls_credentials.h"
#include "common/systemd/log.h"

namespace postern {
namespace {

using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

// How long calls and connections may take to end before they are cut off.
constexpr std::chrono::milliseconds kGoodbye{250};

// More than a request may have (kMaxRequestBytes), so that we can say so in our
// own words. gRPC 1.51 looks at it once it has the whole message: what bounds the
// memory is the quota below.
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kMaxStreamsPerConnection = 128;
constexpr int kHandshakeMs = 10'000;
constexpr int kIdleConnectionMs = 10 * 60'000;
// For connections with a call open; idle ones end by themselves.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveAnswerMs = 20'000;
// Clients may ping this often.
constexpr int kMinPingIntervalMs = 10'000;
// For messages and buffers of all connections of one server.
constexpr size_t kMemoryBytes = size_t{64} << 20;
// gRPC's own, for reflection; ours are not counted.
constexpr int kMaxReflectionThreads = 8;

// The reflection library adds itself to every server of the process; this takes
// it from the one that strangers can reach.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) {
      using Reflection = grpc::reflection::ProtoServerReflectionPlugin;
      return dynamic_cast<const Reflection*>(plugin.get()) != nullptr;
    });
  }
};

void SetBounds(grpc::ServerBuilder& builder) {
  grpc::ResourceQuota quota("postern");
  quota.Resize(kMemoryBytes).SetMaxThreads(kMaxReflectionThreads);
  builder.SetResourceQuota(quota)
      .SetMaxReceiveMessageSize(kMaxMessageBytes)
      // A compressed message may grow a thousandfold.
      .SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false)
      .SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false)
      .AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes)
      .AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection)
      .AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs)
      .AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleConnectionMs)
      .AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs)
      .AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveAnswerMs)
      .AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                          kMinPingIntervalMs);
}

class GrpcServerImpl final : public GrpcServer {
 public:
  explicit GrpcServerImpl(const Parts& parts)
      : context_{.api = parts.api,
                 .watchers = parts.watchers,
                 .settings = parts.settings,
                 .connections = parts.connections,
                 .answered = parts.answered},
        side_(context_, parts.certificates == nullptr) {}
  GrpcServerImpl(const GrpcServerImpl&) = delete;
  GrpcServerImpl& operator=(const GrpcServerImpl&) = delete;

  absl::Status Run(CertificateSource* certificates) {
    grpc::ServerBuilder builder;
    SetBounds(builder);
    if (side_.local) {
      // Also makes sure that the library is linked.
      grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    } else {
      builder.SetOption(std::make_unique<WithoutReflection>());
    }
    builder.RegisterService(&side_.agent).RegisterService(&side_.health);
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        certificates == nullptr ? grpc::InsecureServerCredentials()
                                : MutualTlsCredentials(*certificates));
    side_.queue = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) {
      Drain();
      return absl::InternalError("gRPC does not start; its reason is in the log");
    }
    AwaitCalls(side_);
    // One is enough: two only hand the queue to each other.
    thread_ = std::thread([this] { Work(); });
    return absl::OkStatus();
  }

  ~GrpcServerImpl() override {
    if (server_ == nullptr) return;
    // gRPC waits for calls that have been begun, and the gatekeeper, whose
    // answer they wait for, may be waiting for us.
    side_.open.Close(absl::UnavailableError(
        "the agent stops; a change may have been made, so ask again with the same id"));
    server_->Shutdown(std::chrono::system_clock::now() + kGoodbye);
    // The connections are closed now, so that what is still open fails.
    side_.calls.AwaitNone();
    Drain();
  }

  void Adopt(Fd connection, int listener) override {
    Acceptor::NewConnectionParameters parameters;
    parameters.listener_fd = listener;
    parameters.fd = connection.Release();
    acceptor_->HandleNewConnection(&parameters);
  }

  bool HasCalls() const override { return side_.open.size() > 0; }

  void RecheckPeers() override { side_.open.RecheckAll(); }

 private:
  // Leaves nothing in the queue; it must be empty before it goes.
  void Drain() {
    side_.queue->Shutdown();
    if (thread_.joinable()) {
      thread_.join();
    } else {
      Work();
    }
  }

  void Work() const {
    pthread_setname_np(pthread_self(), side_.local ? "rpc-local" : "rpc-remote");
    void* tag = nullptr;
    bool ok = false;
    while (side_.queue->Next(&tag, &ok)) Tag::FromQueue(tag).Proceed(ok);
  }

  const CallContext context_;
  // Before the server, which uses both.
  ServingSide side_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
};

void LogFromGrpc(gpr_log_func_args* line) {
  if (line->severity != GPR_LOG_SEVERITY_ERROR) return;
  // Mostly of clients that fail to show a good certificate.
  Log(Priority::kWarning, absl::StrCat("gRPC: ", line->message));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Parts& parts) {
  auto server = std::make_unique<GrpcServerImpl>(parts);
  const absl::Status status = server->Run(parts.certificates);
  if (!status.ok()) return status;
  return server;
}

void RouteGrpcLog() {
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  gpr_set_log_function(LogFromGrpc);
  google::protobuf::SetLogHandler(nullptr);
}

void KeepGrpcRunning() {
  if (grpc_is_initialized() != 0) grpc_init();
}

}  // namespace postern
