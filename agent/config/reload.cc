#include "agent/config/reload.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/text.h"

namespace postern {
namespace {

std::string Endpoint(const ListenConfig& listen) {
  const std::string address = listen.address.ToString();
  return listen.address.family == Family::kIpv6 ? absl::StrCat("[", address, "]:", listen.port)
                                                : absl::StrCat(address, ":", listen.port);
}

// Compares key by key and sorts them into the plan.
class Planner {
 public:
  Planner(const Config& running, const Config& wanted) : running_(running) {
    plan_.config = wanted;
  }

  template <typename T>
  void Now(absl::string_view key, const T& running, const T& wanted) {
    if (running != wanted) plan_.applied.emplace_back(key);
  }

  // Keeps `running` in the plan's config.
  template <typename T>
  void AfterRestart(absl::string_view message, const T& running, T& planned) {
    if (running == planned) return;
    planned = running;
    plan_.needs_restart.push_back(absl::StrCat(message, "; restart to change it"));
  }

  void Path(absl::string_view key, const std::string& running, std::string& planned) {
    AfterRestart(absl::StrCat(key, " stays ", Printable(running)), running, planned);
  }

  void Ports() {
    Limits& planned = plan_.config.limits;
    const Limits& running = running_.limits;
    const auto& ports = planned.guarded_ports;
    // Guarding the port that the agent still listens on would shut its clients out.
    if (running_.listen.has_value() &&
        std::find(ports.begin(), ports.end(), running_.listen->port) != ports.end()) {
      AfterRestart(absl::StrCat("guard.ports stays as it is, because the agent listens on port ",
                                running_.listen->port),
                   running.guarded_ports, planned.guarded_ports);
      AfterRestart("limits.allowed_ports stays as it is, as guard.ports does",
                   running.allowed_ports, planned.allowed_ports);
    }
    Now("guard.ports", running.guarded_ports, planned.guarded_ports);
  }

  void RunningLimits() {
    const Limits& running = running_.limits;
    const Limits& planned = plan_.config.limits;
    Now("limits.max_duration", running.max_duration, planned.max_duration);
    Now("limits.allowed_sources", running.allowed_sources, planned.allowed_sources);
    Now("limits.allowed_ports", running.allowed_ports, planned.allowed_ports);
    Now("limits.shortest_prefix.ipv4", running.shortest_prefix_ipv4, planned.shortest_prefix_ipv4);
    Now("limits.shortest_prefix.ipv6", running.shortest_prefix_ipv6, planned.shortest_prefix_ipv6);
    Now("limits.max_live_grants", running.max_live_grants, planned.max_live_grants);
    Now("on_expiry", running.on_expiry, planned.on_expiry);
  }

  void Listen() {
    std::optional<ListenConfig>& planned = plan_.config.listen;
    const std::optional<ListenConfig>& running = running_.listen;
    if (!running.has_value()) {
      AfterRestart("listen is new, and nothing listens yet", running, planned);
      return;
    }
    if (!planned.has_value()) {
      AfterRestart(
          absl::StrCat("listen is gone, and the agent still listens on ", Endpoint(*running)),
          running, planned);
      return;
    }
    ListenConfig moved = *planned;
    moved.address = running->address;
    moved.port = running->port;
    if (moved != *planned) {
      planned = moved;
      plan_.needs_restart.push_back(
          absl::StrCat("listen.address stays ", Endpoint(*running), "; restart to change it"));
    }
    Now("listen.from", running->from, planned->from);
    Now("listen.tls", running->tls, planned->tls);
    Now("listen.peers", running->peers, planned->peers);
  }

  ReloadPlan Plan() {
    Config& planned = plan_.config;
    Now("mode", running_.mode, planned.mode);
    Ports();
    Now("guard.trusted_interfaces", running_.trusted_interfaces, planned.trusted_interfaces);
    Now("guard.always_allow", running_.always_allow, planned.always_allow);
    RunningLimits();
    Path("state_dir", running_.state_dir, planned.state_dir);
    Path("socket", running_.socket, planned.socket);
    AfterRestart("metrics_socket stays as it is", running_.metrics_socket, planned.metrics_socket);
    Listen();
    AfterRestart("controller stays as it is", running_.controller, planned.controller);
    return std::move(plan_);
  }

 private:
  const Config& running_;
  ReloadPlan plan_;
};

}  // namespace

ReloadPlan PlanReload(const Config& running, const Config& wanted) {
  return Planner(running, wanted).Plan();
}

}  // namespace postern
