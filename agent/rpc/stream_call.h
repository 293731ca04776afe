// Calls with one request and a stream of replies.

#ifndef POSTERN_AGENT_RPC_STREAM_CALL_H_
#define POSTERN_AGENT_RPC_STREAM_CALL_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/rpc/calls.h"
#include "agent/rpc/watch.h"

namespace postern {

struct StreamMethod {
  absl::string_view name;
  // Empty: whoever can connect may call it.
  std::optional<Role> role;
  void (*request)(ServingSide& side, grpc::ServerContext* context, grpc::ByteBuffer* request,
                  grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer, void* tag);
  // What to send. `wake` tells the stream that there may be more; before this
  // returns only other threads may call it.
  absl::StatusOr<std::shared_ptr<StreamSource>> (*open)(const CallContext& context,
                                                        grpc::ByteBuffer& request,
                                                        const std::function<void()>& wake);
};

// Waits for a call of `method`, and from then on for the next.
void AwaitStream(ServingSide& side, const StreamMethod& method);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_STREAM_CALL_H_
