// ControllerService over gRPC: agents enrol, renew and attach.

#ifndef POSTERN_CONTROLLER_FLEET_FLEET_SERVER_H_
#define POSTERN_CONTROLLER_FLEET_FLEET_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/prefix.h"
#include "controller/fleet/issuer.h"
#include "controller/service/fleet_service.h"

namespace postern::controller {

struct FleetServerOptions {
  Address address = {};
  // 0: any that is free.
  uint16_t port = 0;
  // Threads that read and write the store for agents.
  size_t workers = 4;
  // Told of what goes wrong and is nobody's answer; any thread.
  std::function<void(const std::string&)> report;
};

// Any thread.
class FleetServer {
 public:
  // Serves from now on until it is destroyed. All that is passed is borrowed.
  static absl::StatusOr<std::unique_ptr<FleetServer>> Start(FleetServerOptions options,
                                                            FleetService& fleet, Issuer& issuer,
                                                            const Clock& clock);
  virtual ~FleetServer() = default;

  virtual uint16_t port() const = 0;
  // What these VMs (by their keys) are wanted to hold is another now: those that
  // are attached here are told.
  virtual void Changed(const std::vector<std::string>& vm_keys) = 0;
  // The same for all that are attached here: the net under lost hints. Also records that
  // this controller is there, so that it is wanted each half a minute.
  virtual void CheckAll() = 0;
  virtual size_t attached() const = 0;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_FLEET_FLEET_SERVER_H_
