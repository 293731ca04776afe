// Errors as they leave by gRPC.

#ifndef POSTERN_CONTROLLER_FLEET_ERRORS_H_
#define POSTERN_CONTROLLER_FLEET_ERRORS_H_

#include <grpcpp/support/status.h>

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace postern::controller {

grpc::Status ToGrpc(const absl::Status& status);

// `status` as it is told to whoever calls. What the store says of itself when it fails
// is for the journal: it goes to `report`, and they are told what it means for them.
absl::Status ForCallers(const absl::Status& status,
                        const std::function<void(const std::string&)>& report);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_FLEET_ERRORS_H_
