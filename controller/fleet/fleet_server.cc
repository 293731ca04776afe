#include "controller/fleet/fleet_server.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <postern/v1/controller.grpc.pb.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/duration.h"
#include "common/grpc/peer.h"
#include "common/grpc/tls_credentials.h"
#include "common/pki/request.h"
#include "common/status.h"
#include "common/tls/certificates.h"
#include "controller/fleet/errors.h"
#include "controller/fleet/streams.h"
#include "controller/limits/network.h"
#include "controller/limits/rate_limit.h"

namespace postern::controller {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kHandshakeMs = 10'000;
// A VM that vanished is noticed within a minute.
constexpr int kKeepaliveMs = 40'000;
constexpr int kKeepaliveAnswerMs = 20'000;
constexpr int kMinPingIntervalMs = 10'000;
// A connection without a call; an agent's has one.
constexpr int kIdleMs = 30'000;
constexpr size_t kMemoryBytes = size_t{256} << 20;
constexpr std::chrono::seconds kGoodbye{1};
// What enrols is not known yet. A whole rack may do so at once.
constexpr double kEnrolmentsPerSecond = 10;
constexpr double kEnrolmentsAtOnce = 100;
constexpr size_t kNetworksRemembered = 10'000;

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

class Server final : public FleetServer, public v1::ControllerService::CallbackService {
 public:
  Server(FleetServerOptions options, FleetService& fleet, Issuer& issuer, const Clock& clock)
      : options_(std::move(options)),
        fleet_(fleet),
        issuer_(issuer),
        clock_(clock),
        enrolments_(kEnrolmentsPerSecond, kEnrolmentsAtOnce, kNetworksRemembered),
        streams_(fleet, clock, options_.workers, options_.report) {}

  ~Server() override {
    if (server_ == nullptr) return;
    streams_.EndAll();
    server_->Shutdown(std::chrono::system_clock::now() + kGoodbye);
    server_->Wait();
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
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
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

  void Changed(const std::vector<std::string>& vm_keys) override { streams_.Changed(vm_keys); }
  void CheckAll() override { streams_.CheckAll(); }
  size_t attached() const override { return streams_.attached(); }

  grpc::ServerUnaryReactor* Enroll(grpc::CallbackServerContext* context,
                                   const v1::EnrollRequest* request,
                                   v1::Certificate* answer) override {
    const std::string network = NetworkOfPeer(*context);
    const absl::Duration wait = enrolments_.Take(network, clock_.Read().boot);
    if (wait > absl::ZeroDuration()) {
      grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
      reactor->Finish(ToGrpc(absl::ResourceExhaustedError(
          absl::StrCat("too many ask to join from ", network, "; try again in ",
                       DurationText(absl::Ceil(wait, absl::Seconds(1)))))));
      return reactor;
    }
    return Later(context, [this, context, request, answer]() -> absl::Status {
      // Before the token is used up: a request that cannot be signed wastes nothing.
      POSTERN_RETURN_IF_ERROR(KeyOfRequest(request->certificate_request()).status());
      POSTERN_ASSIGN_OR_RETURN(const VmId vm, fleet_.Enroll(request->join_token(), request->name(),
                                                            AddressOf(*context)));
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
    return streams_.Open(VmOf(*context), SerialOf(*context), *context);
  }

 private:
  static std::string AddressOf(const grpc::CallbackServerContext& context) {
    const std::optional<Endpoint> peer = EndpointOfPeer(context.peer());
    return peer ? peer->address.ToString() : "unknown";
  }

  static std::string NetworkOfPeer(const grpc::CallbackServerContext& context) {
    const std::optional<Endpoint> peer = EndpointOfPeer(context.peer());
    return NetworkOf(peer ? std::optional(peer->address) : std::nullopt);
  }

  template <typename Work>
  grpc::ServerUnaryReactor* Later(grpc::CallbackServerContext* context, Work work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    streams_.Post([this, reactor, work = std::move(work)] {
      reactor->Finish(ToGrpc(ForCallers(work(), options_.report)));
    });
    return reactor;
  }

  absl::Status Certify(const VmId& vm, const std::string& request, const std::string& renewed,
                       v1::Certificate& answer) {
    POSTERN_ASSIGN_OR_RETURN(const IssuedCertificate issued,
                             issuer_.Issue(vm, request, clock_.Read().wall));
    POSTERN_RETURN_IF_ERROR(fleet_.RecordCertificate(vm, issued.serial, issued.expires, renewed));
    answer.set_certificate(issued.pem);
    answer.set_authorities(issuer_.authorities());
    answer.set_vm(vm.ToString());
    return absl::OkStatus();
  }

  const FleetServerOptions options_;
  FleetService& fleet_;
  Issuer& issuer_;
  const Clock& clock_;
  RateLimit enrolments_;
  Streams streams_;
  uint16_t port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

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
