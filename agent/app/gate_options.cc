#include "agent/app/gate_options.h"

#include <memory>

#include "agent/config/last_gate.h"
#include "agent/enforcer/exposure.h"
#include "agent/sessions/kernel_sessions.h"
#include "common/status.h"

namespace postern {

GatekeeperOptions OptionsOf(const Config& config) {
  GatekeeperOptions options;
  options.gate.enforce = config.mode == Mode::kEnforce;
  options.gate.ports = config.limits.guarded_ports;
  options.gate.trusted_interfaces = config.trusted_interfaces;
  options.gate.always_allow = config.always_allow;
  if (config.listen) {
    options.gate.own_port = OwnPort{.port = config.listen->port, .from = config.listen->from};
  }
  options.limits = config.limits;
  return options;
}

GateOptions GateBeforeStart(const Config& config) {
  GateOptions gate = OptionsOf(config).gate;
  const absl::StatusOr<Config> last = ReadLastGate(config.state_dir);
  const bool never_kept = absl::IsNotFound(last.status());
  if (!never_kept && (!last.ok() || last->mode == Mode::kEnforce)) gate.enforce = true;
  return gate;
}

absl::StatusOr<std::vector<Flow>> SessionsToExpose(const Config& config) {
  POSTERN_ASSIGN_OR_RETURN(const Config last, ReadLastGate(config.state_dir));
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Sessions> sessions, KernelSessions::Open());
  POSTERN_ASSIGN_OR_RETURN(const LiveFlows live, sessions->ListLive(config.limits.guarded_ports));
  return NewlyExposedBy(OptionsOf(last).gate, GateBeforeStart(config), live);
}

}  // namespace postern
