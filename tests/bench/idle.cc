#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status.h"
#include "tests/bench/parts.h"

namespace postern::bench {
namespace {

constexpr double kMostRssOverMinimal = 1.3;
constexpr int kConnections = 16;
// On each connection; to the agent half of them are revokes.
constexpr int kCalls = 200;
constexpr int kLiveGrants = 1000;

absl::Status CallAgent(World& world, std::vector<std::unique_ptr<Client>>& clients) {
  for (int i = 0; i < kConnections; ++i) {
    POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Client> client, world.Connect(kAgentAddress));
    for (int call = 0; call < kCalls; call += 2) {
      const v1::CreateGrantRequest request = NewGrant();
      POSTERN_RETURN_IF_ERROR(client->Create(request).status());
      POSTERN_RETURN_IF_ERROR(client->Revoke(request.id(), /*keep_sessions=*/false));
    }
    clients.push_back(std::move(client));
  }
  return absl::OkStatus();
}

absl::Status CallEcho(World& world, std::vector<std::unique_ptr<Client>>& clients) {
  for (int i = 0; i < kConnections; ++i) {
    POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Client> client, world.Connect(kFloorAddress));
    for (int call = 0; call < kCalls; ++call) {
      POSTERN_RETURN_IF_ERROR(client->Create(NewGrant()).status());
    }
    clients.push_back(std::move(client));
  }
  return absl::OkStatus();
}

absl::Status MeasureRss(World& world, const Process& agent, Figures& figures) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Process> echo, world.StartEcho());
  std::vector<std::unique_ptr<Client>> clients;
  POSTERN_RETURN_IF_ERROR(CallAgent(world, clients));
  POSTERN_RETURN_IF_ERROR(CallEcho(world, clients));
  POSTERN_ASSIGN_OR_RETURN(const uint64_t agent_kib, agent.RssKib());
  POSTERN_ASSIGN_OR_RETURN(const uint64_t echo_kib, echo->RssKib());
  figures.Add("rss_over_minimal", static_cast<double>(agent_kib) / static_cast<double>(echo_kib),
              "ratio", Target{kMostRssOverMinimal});
  figures.Add("rss_agent", static_cast<double>(agent_kib), "KiB");
  figures.Add("rss_minimal", static_cast<double>(echo_kib), "KiB");
  return absl::OkStatus();
}

using Switches = std::map<std::string, uint64_t>;

// A thread that has ended meanwhile did so awake, once at least.
double Between(const Switches& before, const Switches& after) {
  uint64_t sum = 0;
  for (const auto& [thread, count] : after) {
    const auto earlier = before.find(thread);
    sum += earlier == before.end() ? count : count - earlier->second;
  }
  for (const auto& [thread, count] : before) sum += after.contains(thread) ? 0 : 1;
  return static_cast<double>(sum);
}

}  // namespace

absl::Status MeasureIdle(World& world, const Plan& plan, Figures& figures) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Process> agent,
                           world.StartAgent(world.agent(), "idle", 0));
  POSTERN_RETURN_IF_ERROR(MeasureRss(world, *agent, figures));
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Process> with_grants,
                           world.StartAgent(world.floor(), "idle-grants", kLiveGrants));
  absl::SleepFor(plan.settle);
  POSTERN_ASSIGN_OR_RETURN(const Switches before, agent->ContextSwitches());
  POSTERN_ASSIGN_OR_RETURN(const Switches before_with_grants, with_grants->ContextSwitches());
  absl::SleepFor(plan.idle);
  POSTERN_ASSIGN_OR_RETURN(const Switches after, agent->ContextSwitches());
  POSTERN_ASSIGN_OR_RETURN(const Switches after_with_grants, with_grants->ContextSwitches());
  const std::string name = absl::StrCat("idle_wakeups_", absl::ToInt64Seconds(plan.idle), "s");
  figures.Add(name, Between(before, after), "switches", Target{0});
  figures.Add(absl::StrCat(name, "_", kLiveGrants, "_grants"),
              Between(before_with_grants, after_with_grants), "switches");
  POSTERN_ASSIGN_OR_RETURN(const uint64_t idle_kib, agent->RssKib());
  figures.Add("rss_agent_idle", static_cast<double>(idle_kib), "KiB");
  return absl::OkStatus();
}

}  // namespace postern::bench
