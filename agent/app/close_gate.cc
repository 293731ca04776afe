#include "agent/app/close_gate.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "agent/app/gate_options.h"
#include "agent/app/journal.h"
#include "agent/config/config.h"
#include "agent/config/last_gate.h"
#include "agent/firewall/nft/nft_firewall.h"
#include "agent/sessions/kernel_sessions.h"
#include "common/status.h"
#include "common/systemd/log.h"

namespace postern {
namespace {

// For a boot at which agent.yaml cannot be read.
GateOptions GateWithoutConfig() {
  absl::StatusOr<Config> last = ReadLastGate(Config().state_dir);
  if (!last.ok()) {
    Log(Priority::kError, absl::StrCat("no gate was in force before (", last.status().message(),
                                       "): the default ports are closed"));
    return OptionsOf(Config()).gate;
  }
  Log(Priority::kWarning, "the gate that was in force last is put in force again");
  return OptionsOf(*last).gate;
}

absl::Status CloseGateOf(const absl::StatusOr<Config>& config) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Firewall> firewall, NftFirewall::Open());
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Sessions> sessions, KernelSessions::Open());
  return CloseAndTell(*firewall, *sessions,
                      config.ok() ? GateBeforeStart(*config) : GateWithoutConfig());
}

}  // namespace

absl::Status CloseAndTell(Firewall& firewall, Sessions& sessions, const GateOptions& gate) {
  const absl::StatusOr<bool> made = CloseGate(firewall, sessions, gate);
  if (!made.ok()) return Annotate(made.status(), "closing the gate");
  if (!*made) return absl::OkStatus();
  Log(LineOf(kGateMade, absl::StrCat("no gate stood; one without grants is made, which ",
                                     gate.enforce ? "is closed" : "observes")));
  return absl::OkStatus();
}

absl::Status CloseGateAtBoot(const std::string& config_path) {
  const absl::StatusOr<Config> config = LoadConfigWithoutCertificates(config_path);
  if (!config.ok()) Log(Priority::kError, config.status().message());
  return CloseGateOf(config);
}

absl::Status CloseGateOfFailedStart(const std::string& config_path) {
  const absl::StatusOr<Config> config = LoadConfigWithoutCertificates(config_path);
  const bool none_is_known =
      !config.ok() && absl::IsNotFound(ReadLastGate(Config().state_dir).status());
  return none_is_known ? absl::OkStatus() : CloseGateOf(config);
}

}  // namespace postern
