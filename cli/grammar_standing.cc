// The verbs that give orders to a whole host: lockdown, arm, confirm, disarm.

#include <memory>

#include "absl/strings/str_cat.h"
#include "cli/grammar.h"
#include "common/duration.h"
#include "common/status.h"

namespace postern {
namespace {

Verb AddLockdown(CLI::App& app) {
  struct Options {
    bool lift = false;
    std::string reason;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = AddVerb(app, "lockdown", "End all grants and refuse new ones until it is lifted",
                           "  posternctl lockdown --reason \"a stolen laptop\"\n"
                           "  posternctl lockdown --lift");
  verb->add_flag("--lift", options->lift, "Take grants again");
  AddValue(*verb, "--reason", options->reason, "TEXT", "Why, for the audit; at most 4096 bytes");
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            if (options->lift && !options->reason.empty()) {
              return absl::InvalidArgumentError("--reason goes with a lockdown, not with --lift");
            }
            POSTERN_RETURN_IF_ERROR(CheckUtf8("--reason", options->reason));
            return LockdownCommand{.lift = options->lift, .reason = options->reason};
          }};
}

Verb AddArm(CLI::App& app) {
  auto within = std::make_shared<std::string>("10m");
  CLI::App* verb =
      AddVerb(app, "arm", "Enforce where agent.yaml says observe, on trial",
              "  posternctl arm --confirm-within 10m\n"
              "  posternctl confirm          (from a new connection: you still get in)");
  AddValue(*verb, "--confirm-within", *within, "DURATION",
           "Go back to observe unless confirm comes within this time: 90s, 15m")
      ->capture_default_str();
  return {verb, [within](const Environment&) -> absl::StatusOr<Command> {
            const absl::StatusOr<absl::Duration> time = ParseDuration(*within);
            POSTERN_RETURN_IF_ERROR(About("--confirm-within", time.status()));
            return ArmCommand{.confirm_within = *time};
          }};
}

}  // namespace

void AddStandingVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  verbs.push_back(AddLockdown(app));
  verbs.push_back(AddArm(app));
  CLI::App* confirm =
      AddVerb(app, "confirm", "Keep enforcing what arm began", "  posternctl confirm");
  verbs.push_back({confirm, [](const Environment&) { return ConfirmCommand{}; }});
  CLI::App* disarm =
      AddVerb(app, "disarm", "Go back to observe what arm began", "  posternctl disarm");
  verbs.push_back({disarm, [](const Environment&) { return DisarmCommand{}; }});
}

}  // namespace postern
