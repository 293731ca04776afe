// Between the messages of controller.proto and the values of fleet_service.h.
// Pure.

#ifndef POSTERN_CONTROLLER_FLEET_CONVERT_H_
#define POSTERN_CONTROLLER_FLEET_CONVERT_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/service/fleet_service.h"
#include "postern/v1/controller.pb.h"

namespace postern::controller {

// `now` by the controller's clock, from which what remains is told.
v1::WantedState ToProto(const Wanted& wanted, absl::Time now);

// INVALID_ARGUMENT for what is out of bounds.
absl::StatusOr<AgentFacts> FactsOf(const v1::AgentHello& hello, absl::Time now);
absl::StatusOr<Report> ReportOf(const v1::AppliedState& applied);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_FLEET_CONVERT_H_
