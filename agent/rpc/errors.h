// From our errors to gRPC's.

#ifndef POSTERN_AGENT_RPC_ERRORS_H_
#define POSTERN_AGENT_RPC_ERRORS_H_

#include <grpcpp/support/status.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace postern {

// What is wrong with one field of a request. `field` is a path such as
// "ports[0].number".
struct Violation {
  std::string field;
  std::string description;
};

// How many violations of one request are told. A caller's metadata is bounded,
// usually to 8 KiB, and a status beyond it would be lost as a whole.
inline constexpr size_t kMaxViolationsTold = 8;
inline constexpr size_t kMaxDescriptionBytes = 256;
inline constexpr size_t kMaxMessageBytes = 1024;

// INVALID_ARGUMENT with the violations, of which there must be at least one, in
// its message and as a payload that ToGrpcStatus understands.
absl::Status BadRequestError(const std::vector<Violation>& violations);

// Every status that leaves the agent goes through here. The code stays, and the
// message, shortened. A BadRequestError or a FieldError (common/status.h) carries
// its fields as google.rpc.BadRequest in the error details; other payloads stay
// behind.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_ERRORS_H_
