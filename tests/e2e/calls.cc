// Asks a posternd on this host what posternctl does not: GetGrant, the health
// service and reflection.
//   calls SOCKET GRANT_ID

#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "postern/v1/agent.grpc.pb.h"

namespace postern {
namespace {

using Channel = std::shared_ptr<grpc::Channel>;

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
}

grpc::Status GetGrant(const Channel& channel, const std::string& id) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetGrantRequest request;
  request.set_id(id);
  v1::Grant grant;
  const grpc::Status status =
      v1::AgentService::NewStub(channel)->GetGrant(&context, request, &grant);
  if (status.ok() && grant.id() != id) return {grpc::StatusCode::INTERNAL, "another grant"};
  return status;
}

grpc::Status Check(const Channel& channel) {
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::health::v1::HealthCheckResponse response;
  return grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &response);
}

// Until the first answer.
grpc::Status Watch(const Channel& channel) {
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::health::v1::HealthCheckResponse response;
  const auto watch = grpc::health::v1::Health::NewStub(channel)->Watch(&context, {});
  if (!watch->Read(&response)) return watch->Finish();
  context.TryCancel();
  watch->Finish();
  return grpc::Status::OK;
}

// Without its messages: field 7 is list_services.
grpc::Status Reflect(const Channel& channel) {
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::CompletionQueue queue;
  const grpc::Slice list("\x3a\x01*");
  const auto call = grpc::GenericStub(channel).PrepareUnaryCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::ByteBuffer(&list, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->Finish(&reply, &status, &queue);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (status.ok() && reply.Length() == 0) return {grpc::StatusCode::INTERNAL, "no services"};
  return status;
}

int Main(const std::string& socket, const std::string& id) {
  const Channel channel = grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials());
  const struct {
    const char* what;
    grpc::Status status;
  } answers[] = {{"GetGrant", GetGrant(channel, id)},
                 {"health: Check", Check(channel)},
                 {"health: Watch", Watch(channel)},
                 {"reflection", Reflect(channel)}};
  int failures = 0;
  for (const auto& answer : answers) {
    if (answer.status.ok()) continue;
    ++failures;
    std::fprintf(stderr, "%s: %s\n", answer.what, answer.status.error_message().c_str());
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: calls SOCKET GRANT_ID\n", stderr);
    return 2;
  }
  return postern::Main(argv[1], argv[2]);
}
