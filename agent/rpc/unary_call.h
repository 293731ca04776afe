// Calls with one request and one reply.

#ifndef POSTERN_AGENT_RPC_UNARY_CALL_H_
#define POSTERN_AGENT_RPC_UNARY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/rpc/calls.h"

namespace postern {

class UnaryCall;

// Answers a call, once; further answers, and those to a call that has been
// abandoned, are dropped. Any thread.
class UnaryReply {
 public:
  explicit UnaryReply(std::shared_ptr<CallLink> link) : link_(std::move(link)) {}

  template <typename Reply>
  void Send(const absl::StatusOr<Reply>& reply) const {
    if (!reply.ok()) return Fail(reply.status());
    grpc::ByteBuffer bytes;
    bool owned = false;
    const grpc::Status serialised =
        grpc::SerializationTraits<Reply>::Serialize(*reply, &bytes, &owned);
    if (!serialised.ok()) return Fail(absl::InternalError("the reply cannot be serialised"));
    Succeed(bytes);
  }
  void Fail(const absl::Status& status) const;

 private:
  void Succeed(const grpc::ByteBuffer& bytes) const;

  std::shared_ptr<CallLink> link_;
};

struct UnaryMethod {
  absl::string_view name;
  // Empty: whoever can connect may call it.
  std::optional<Role> role;
  void (*request)(ServingSide& side, grpc::ServerContext* context, grpc::ByteBuffer* request,
                  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* writer, void* tag);
  void (*serve)(const CallContext& context, const Caller& caller, grpc::ByteBuffer& request,
                const UnaryReply& reply);
};

// Waits for a call of `method`, and from then on for the next.
void AwaitUnary(ServingSide& side, const UnaryMethod& method);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_UNARY_CALL_H_
