// gRPC's way to a controller.

#ifndef POSTERN_AGENT_LINK_CHANNEL_H_
#define POSTERN_AGENT_LINK_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "agent/link/identity_files.h"

namespace postern {

// A connection of its own to `address`, whose certificate `authorities` (PEM, at
// least one) have signed. Without `identity` the call is made by nobody.
std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address, const std::string& authorities,
                                         const LinkIdentity* identity);

absl::Status FromGrpc(const grpc::Status& status);

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_CHANNEL_H_
