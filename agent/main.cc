// posternd: guards the management ports of this host.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "agent/app/agent.h"
#include "agent/app/close_gate.h"
#include "agent/app/gate_options.h"
#include "agent/app/journal.h"
#include "agent/app/remove_gate.h"
#include "agent/config/config.h"
#include "common/systemd/log.h"
#include "common/text.h"
#include "common/version.h"

namespace postern {
namespace {

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;

constexpr size_t kMostSessionsShown = 10;

constexpr char kFooter[] =
    "\nThe gate stays closed when posternd stops; grants run to their ends in the kernel.\n"
    "SIGHUP reads the configuration again; SIGTERM stops.\n"
    "See agent.yaml(5) for the configuration and posternctl --help for the tool.";

// `socket` is where a posternd that runs would answer.
int TakeGateDown(const std::string& socket) {
  const absl::StatusOr<bool> removed = RemoveGate(socket);
  if (!removed.ok()) {
    std::cerr << "the gate stays: " << Printable(removed.status().message()) << '\n';
    return kFailed;
  }
  std::cout << (*removed ? "The gate is down: Postern closes no port of this host any more.\n"
                         : "No gate stands: Postern closes no port of this host.\n");
  return 0;
}

// Of those who could then not come back: a reload would be too late to learn it.
void TellExposed(const Config& config) {
  const absl::StatusOr<std::vector<Flow>> exposed = SessionsToExpose(config);
  // No gate was in force, or it is not for this user to know.
  if (!exposed.ok()) return;
  const size_t shown = std::min(exposed->size(), kMostSessionsShown);
  for (size_t i = 0; i < shown; ++i) {
    std::cout << "with it, the session from " << (*exposed)[i].ToString()
              << " stays, but could not be opened again unless a grant covers it\n";
  }
  if (exposed->size() > shown) {
    std::cout << "and " << exposed->size() - shown << " more sessions like these\n";
  }
}

int TellCheck(const std::string& config_path, const absl::StatusOr<Config>& config) {
  if (!config.ok()) {
    std::cerr << Printable(config.status().message()) << '\n';
    return kFailed;
  }
  TellExposed(*config);
  std::cout << config_path << ": ok\n";
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("posternd keeps the management ports of this host closed and opens them on request.",
               "posternd");
  std::string config_path = "/etc/postern/agent.yaml";
  bool check = false;
  bool lockdown = false;
  bool remove_gate = false;
  app.add_option("--config", config_path, "The configuration file")->capture_default_str();
  app.add_flag("--check-config", check, "Read the configuration, say what is wrong, and exit");
  CLI::Option* lockdown_flag =
      app.add_flag("--lockdown", lockdown,
                   "Close the gate as the configuration has it, unless one stands, and exit:\n"
                   "for the time in a boot before the daemon runs");
  app.add_flag("--remove-gate", remove_gate,
               "Take the gate down and exit: nothing is closed until posternd runs again.\n"
               "Needs no configuration; refused while posternd runs")
      ->excludes(lockdown_flag);
  app.set_version_flag("--version", std::string("posternd ") + kVersion);
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }

  if (lockdown) {
    const absl::Status closed = CloseGateAtBoot(config_path);
    if (!closed.ok()) Log(LineOf(kAgentFailed, std::string(closed.message())));
    return closed.ok() ? 0 : kFailed;
  }
  absl::StatusOr<Config> config = LoadConfig(config_path);
  if (remove_gate) return TakeGateDown(config.ok() ? config->socket : Config().socket);
  if (check) return TellCheck(config_path, config);
  if (!config.ok()) {
    const absl::Status closed = CloseGateOfFailedStart(config_path);
    if (!closed.ok()) Log(Priority::kError, closed.message());
  }
  const absl::Status status =
      config.ok() ? RunAgent(*std::move(config), config_path) : config.status();
  if (!status.ok()) Log(LineOf(kAgentFailed, std::string(status.message())));
  return status.ok() ? 0 : kFailed;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
  try {
    return postern::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "posternd: " << error.what() << '\n';
    return postern::kFailed;
  }
}
