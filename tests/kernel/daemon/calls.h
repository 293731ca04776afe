// Calls of a client, in short.

#ifndef POSTERN_TESTS_KERNEL_DAEMON_CALLS_H_
#define POSTERN_TESTS_KERNEL_DAEMON_CALLS_H_

#include <grpcpp/grpcpp.h>
#include <postern/v1/agent.grpc.pb.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/firewall/nft/nft_firewall.h"

namespace postern {

// What must happen is waited for this long, on a machine with much else to do.
inline constexpr absl::Duration kPatience = absl::Seconds(30);

// A call's context that gives up in the end, so that no test hangs.
std::unique_ptr<grpc::ClientContext> NewContext();

// `duration` of 22/tcp and 22/udp from `source`.
v1::CreateGrantRequest NewGrant(const std::string& source, absl::Duration duration);

struct Answer {
  grpc::Status status;
  v1::Grant grant;
};
Answer Create(v1::AgentService::Stub& stub, const v1::CreateGrantRequest& request);
Answer Revoke(v1::AgentService::Stub& stub, const std::string& id);
Answer Extend(v1::AgentService::Stub& stub, const std::string& id, absl::Duration by);
Answer Move(v1::AgentService::Stub& stub, const std::string& id, const std::string& prefix);
Answer Get(v1::AgentService::Stub& stub, const std::string& id);

absl::StatusOr<v1::GetStatusResponse> GetStatus(v1::AgentService::Stub& stub);
// All of them, page by page.
absl::StatusOr<std::vector<v1::Grant>> ListGrants(v1::AgentService::Stub& stub,
                                                  bool include_ended = false);
absl::StatusOr<std::vector<v1::AuditEvent>> ListEvents(v1::AgentService::Stub& stub);

absl::Time ToTime(const google::protobuf::Timestamp& time);

// How the kernel, GetStatus and ListGrants differ, in words; empty when they do
// not. Of a daemon that nobody asks for changes meanwhile.
absl::StatusOr<std::string> Difference(v1::AgentService::Stub& stub, NftFirewall& kernel);

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_DAEMON_CALLS_H_
