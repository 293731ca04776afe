// The floor's server: mutual TLS, one unary method, nothing behind it.
//
// echo_server ADDRESS CERT KEY CA (files in PEM)

#include <grpcpp/grpcpp.h>
#include <postern/v1/agent.grpc.pb.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

namespace {

namespace v1 = postern::v1;

// Answers with what was asked for, in the message that the agent answers with.
class Echo final : public v1::AgentService::CallbackService {
  grpc::ServerUnaryReactor* CreateGrant(grpc::CallbackServerContext* context,
                                        const v1::CreateGrantRequest* request,
                                        v1::Grant* grant) override {
    grant->set_id(request->id());
    *grant->mutable_source_prefixes() = request->source_prefixes();
    *grant->mutable_ports() = request->ports();
    *grant->mutable_duration() = request->duration();
    grant->set_requestor(request->requestor());
    grant->set_justification(request->justification());
    grant->set_on_expiry(request->on_expiry());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

std::string Content(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: echo_server ADDRESS CERT KEY CA\n", stderr);
    return 2;
  }
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = Content(argv[4]);
  options.pem_key_cert_pairs.push_back(
      {.private_key = Content(argv[3]), .cert_chain = Content(argv[2])});
  Echo echo;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::SslServerCredentials(options)).RegisterService(&echo);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  server->Wait();
}
