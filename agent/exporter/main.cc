// postern-exporter: an agent's metrics for Prometheus, over HTTP on loopback.

#include <prometheus/exposer.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent/exporter/exporter.h"
#include "common/systemd/log.h"
#include "common/systemd/notify.h"
#include "common/version.h"

namespace postern {
namespace {

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;

constexpr char kFooter[] =
    "\nTells http://127.0.0.1:PORT/metrics what the agent on this host counts; its\n"
    "agent.yaml must name the metrics_socket. See postern-exporter(8).";

// The library says by an exception that it cannot listen.
std::optional<std::string> WhyNot(std::optional<prometheus::Exposer>& exposer,
                                  const std::string& address) {
  try {
    // A connection on which nothing is asked holds a thread until its time is up.
    exposer.emplace(std::vector<std::string>{"listening_ports", address, "num_threads", "4",
                                             "request_timeout_ms", "1000"});
    return std::nullopt;
  } catch (const std::exception& error) {
    return error.what();
  }
}

int Serve(const std::string& socket, uint16_t port) {
  // Taken below; every thread made from here on inherits this.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const std::string address = absl::StrCat("127.0.0.1:", port);
  const auto exporter = std::make_shared<Exporter>(socket);
  std::optional<prometheus::Exposer> exposer;
  if (const std::optional<std::string> why = WhyNot(exposer, address)) {
    Log(Priority::kError, absl::StrCat("listening on ", address, ": ", *why,
                                       "; is another program there? --port names another port"));
    return kFailed;
  }
  exposer->RegisterCollectable(exporter);
  if (const absl::Status asked = ReadMetrics(socket).status(); !asked.ok()) {
    Log(Priority::kWarning, std::string(asked.message()));
  }
  NotifyReady(absl::StrCat("serving http://", address, "/metrics"));
  int taken = 0;
  sigwait(&signals, &taken);
  NotifyStopping();
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("postern-exporter tells Prometheus what the Postern agent on this host counts.",
               "postern-exporter");
  std::string socket = "/run/postern/metrics.sock";
  uint16_t port = 9743;
  app.add_option("--socket", socket, "The agent's metrics_socket")->capture_default_str();
  app.add_option("--port", port, "The port to listen on, at 127.0.0.1")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  app.set_version_flag("--version", std::string("postern-exporter ") + kVersion);
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }
  return Serve(socket, port);
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
  try {
    return postern::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "postern-exporter: %s\n", error.what());
    return postern::kFailed;
  }
}
