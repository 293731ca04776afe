#include "controller/fleet/errors.h"

namespace postern::controller {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::Status ForCallers(const absl::Status& status,
                        const std::function<void(const std::string&)>& report) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      report(std::string(status.message()));
      return absl::UnavailableError("the controller's store cannot be reached; try again");
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      report(std::string(status.message()));
      return absl::InternalError("the controller failed; its journal says why");
    default:
      return status;
  }
}

}  // namespace postern::controller
