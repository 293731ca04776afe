// gRPC channels to an agent, and why one could not be had.

#ifndef POSTERN_CLI_CHANNEL_H_
#define POSTERN_CLI_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "cli/command.h"
#include "cli/credentials.h"

namespace postern {

// Has names resolved as the rest of the system does (nsswitch.conf), rather than
// by gRPC's own DNS client. Sets an environment variable: before any thread, and
// before gRPC is first used.
void UseSystemResolver();

std::shared_ptr<grpc::Channel> LocalChannel(const LocalAgent& agent);
// `timeout` bounds each attempt to connect.
std::shared_ptr<grpc::Channel> RemoteChannel(const RemoteAgent& agent,
                                             const Credentials& credentials,
                                             absl::Duration timeout);

// What was tried and the way out, one line. The first tries the socket again to
// learn what is wrong with it; empty when that works.
std::string WhyUnreachable(const LocalAgent& agent);
std::string WhyUnreachable(const RemoteAgent& agent);

}  // namespace postern

#endif  // POSTERN_CLI_CHANNEL_H_
