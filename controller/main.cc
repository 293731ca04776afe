// postern-controller: policies, requests and their audit, for the agents of a fleet.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "common/duration.h"
#include "common/systemd/log.h"
#include "common/text.h"
#include "common/version.h"
#include "controller/app/controller.h"
#include "controller/config/config.h"

namespace postern::controller {
namespace {

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", Printable(status.message()).c_str());
  return kFailed;
}

int PrintToken(const Config& config, const std::string& principal, const std::string& lifetime) {
  const absl::StatusOr<absl::Duration> length = ParseDuration(lifetime);
  if (!length.ok()) return Fail(length.status());
  const absl::StatusOr<std::string> secret = MakeToken(config, principal, *length);
  if (!secret.ok()) return Fail(secret.status());
  std::printf("%s\n", secret->c_str());
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("postern-controller decides who may reach the guarded ports of which VM, and when.",
               "postern-controller");
  std::string config_path = "/etc/postern/controller.yaml";
  std::string token_for;
  std::string token_lifetime = "30d";
  bool check = false;
  app.add_option("--config", config_path, "The configuration file")->capture_default_str();
  app.add_flag("--check-config", check, "Read the configuration, say what is wrong, and exit");
  app.add_option("--make-token", token_for,
                 "Print a new token for this principal, such as user:ana, and exit");
  app.add_option("--token-lifetime", token_lifetime, "How long the new token is good")
      ->capture_default_str();
  app.set_version_flag("--version", std::string("postern-controller ") + kVersion);
  app.footer(
      "\nSIGTERM stops it; live grants run on to their ends on the VMs.\n"
      "The configuration that is shipped names every key.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }
  const absl::StatusOr<Config> config = LoadConfig(config_path);
  if (!config.ok()) return Fail(config.status());
  if (check) {
    std::printf("%s: ok\n", config_path.c_str());
    return 0;
  }
  if (!token_for.empty()) return PrintToken(*config, token_for, token_lifetime);
  const absl::Status status = RunController(*config);
  if (!status.ok()) Log(Priority::kError, std::string(status.message()));
  return status.ok() ? 0 : kFailed;
}

}  // namespace
}  // namespace postern::controller

int main(int argc, char** argv) { return postern::controller::Main(argc, argv); }
