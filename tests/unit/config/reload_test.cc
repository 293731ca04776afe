#include "agent/config/reload.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Prefix P(const std::string& text) { return Prefix::Parse(text).value(); }

ListenConfig Listen() {
  return ListenConfig{.address = Address::Parse("::").value(),
                      .port = 7443,
                      .from = {P("192.0.2.0/24")},
                      .tls = {.cert = "/a.pem", .key = "/a.key", .ca = "/ca.pem"},
                      .peers = {{"one", Role::kController}}};
}

Config WithListen() {
  Config config;
  config.listen = Listen();
  return config;
}

TEST(PlanReload, NothingChangedIsNothingToDo) {
  const ReloadPlan plan = PlanReload(WithListen(), WithListen());
  EXPECT_TRUE(plan.config == WithListen());
  EXPECT_THAT(plan.applied, IsEmpty());
  EXPECT_THAT(plan.needs_restart, IsEmpty());
}

TEST(PlanReload, MostKeysTakeEffectAtOnce) {
  const struct {
    std::string key;
    std::function<void(Config&)> change;
  } table[] = {
      {"mode", [](Config& c) { c.mode = Mode::kObserve; }},
      {"guard.ports", [](Config& c) { c.limits.guarded_ports = {22}; }},
      {"guard.trusted_interfaces", [](Config& c) { c.trusted_interfaces = {"wg0"}; }},
      {"guard.always_allow", [](Config& c) { c.always_allow = {P("192.0.2.1/32")}; }},
      {"limits.max_duration", [](Config& c) { c.limits.max_duration = absl::Hours(1); }},
      {"limits.allowed_sources", [](Config& c) { c.limits.allowed_sources = {P("10.0.0.0/8")}; }},
      {"limits.allowed_ports", [](Config& c) { c.limits.allowed_ports = {22}; }},
      {"limits.shortest_prefix.ipv4", [](Config& c) { c.limits.shortest_prefix_ipv4 = 0; }},
      {"limits.shortest_prefix.ipv6", [](Config& c) { c.limits.shortest_prefix_ipv6 = 0; }},
      {"limits.max_live_grants", [](Config& c) { c.limits.max_live_grants = 1; }},
      {"on_expiry", [](Config& c) { c.limits.on_expiry = OnExpiry::kCut; }},
      {"listen.from", [](Config& c) { c.listen->from = {P("10.0.0.0/8")}; }},
      {"listen.tls", [](Config& c) { c.listen->tls.cert = "/b.pem"; }},
      {"listen.peers", [](Config& c) { c.listen->peers[0].role = Role::kViewer; }},
  };
  for (const auto& entry : table) {
    Config wanted = WithListen();
    entry.change(wanted);
    const ReloadPlan plan = PlanReload(WithListen(), wanted);
    EXPECT_TRUE(plan.config == wanted) << entry.key;
    EXPECT_THAT(plan.applied, ElementsAre(entry.key));
    EXPECT_THAT(plan.needs_restart, IsEmpty()) << entry.key;
  }
}

TEST(PlanReload, SomeKeysStayUntilARestart) {
  const struct {
    std::string message;
    std::function<void(Config&)> change;
  } table[] = {
      {"state_dir stays /var/lib/postern; restart to change it",
       [](Config& c) { c.state_dir = "/other"; }},
      {"socket stays /run/postern/agent.sock; restart to change it",
       [](Config& c) { c.socket = "/other"; }},
      {"listen.address stays [::]:7443; restart to change it",
       [](Config& c) { c.listen->port = 7444; }},
      {"listen.address stays [::]:7443; restart to change it",
       [](Config& c) { c.listen->address = Address::Parse("127.0.0.1").value(); }},
      {"listen is gone, and the agent still listens on [::]:7443; restart to change it",
       [](Config& c) { c.listen.reset(); }},
      {"metrics_socket stays as it is; restart to change it",
       [](Config& c) { c.metrics_socket = "/run/m"; }},
      {"controller stays as it is; restart to change it",
       [](Config& c) {
         c.controller = ControllerConfig{"h:1", "/ca.pem"};
       }},
  };
  for (const auto& entry : table) {
    Config wanted = WithListen();
    entry.change(wanted);
    const ReloadPlan plan = PlanReload(WithListen(), wanted);
    EXPECT_TRUE(plan.config == WithListen()) << entry.message;
    EXPECT_THAT(plan.applied, IsEmpty()) << entry.message;
    EXPECT_THAT(plan.needs_restart, ElementsAre(entry.message));
  }
}

TEST(PlanReload, AListenerIsNotAddedByAReload) {
  const ReloadPlan plan = PlanReload(Config{}, WithListen());
  EXPECT_TRUE(plan.config == Config{});
  EXPECT_THAT(plan.needs_restart,
              ElementsAre("listen is new, and nothing listens yet; restart to change it"));
}

// Somebody who takes a peer's rights away while moving the port must not have to
// wait for the restart.
TEST(PlanReload, ThePeersOfAMovedListenerChangeAtOnce) {
  Config wanted = WithListen();
  wanted.listen->port = 7444;
  wanted.listen->peers = {{"two", Role::kViewer}};
  const ReloadPlan plan = PlanReload(WithListen(), wanted);
  Config expected = WithListen();
  expected.listen->peers = {{"two", Role::kViewer}};
  EXPECT_TRUE(plan.config == expected);
  EXPECT_THAT(plan.applied, ElementsAre("listen.peers"));
}

TEST(PlanReload, ThePortInUseIsNotGuardedBeforeTheRestart) {
  Config wanted = WithListen();
  wanted.mode = Mode::kObserve;
  wanted.listen->port = 7444;
  wanted.limits.guarded_ports = {22, 7443};
  wanted.limits.allowed_ports = {7443};
  const ReloadPlan plan = PlanReload(WithListen(), wanted);
  Config expected = WithListen();
  expected.mode = Mode::kObserve;
  EXPECT_TRUE(plan.config == expected);
  EXPECT_THAT(plan.applied, ElementsAre("mode"));
  EXPECT_THAT(plan.needs_restart,
              ElementsAre("guard.ports stays as it is, because the agent listens on port 7443; "
                          "restart to change it",
                          "limits.allowed_ports stays as it is, as guard.ports does; restart to "
                          "change it",
                          "listen.address stays [::]:7443; restart to change it"));
}

}  // namespace
}  // namespace postern
