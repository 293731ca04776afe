#include <atomic>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status.h"
#include "tests/bench/parts.h"

namespace postern::bench {
namespace {

constexpr int kClients = 16;
constexpr double kLeastOverEcho = 0.85;

using Clients = std::vector<std::unique_ptr<Client>>;

absl::StatusOr<Clients> ConnectAll(World& world, const std::string& address) {
  Clients clients;
  for (int i = 0; i < kClients; ++i) {
    POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Client> client, world.Connect(address));
    clients.push_back(std::move(client));
  }
  return clients;
}

// Calls a second, each client with one call at a time.
absl::StatusOr<double> CallAll(Clients& clients, absl::Duration duration) {
  std::atomic<int64_t> calls{0};
  std::mutex mutex;
  absl::Status failure;
  const absl::Time start = absl::Now();
  std::vector<std::thread> threads;
  for (const std::unique_ptr<Client>& client : clients) {
    threads.emplace_back([&, to = client.get()] {
      while (absl::Now() < start + duration) {
        const absl::Status status = to->Create(NewGrant()).status();
        if (!status.ok()) {
          const std::lock_guard lock(mutex);
          failure = status;
          return;
        }
        ++calls;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!failure.ok()) return failure;
  return static_cast<double>(calls) / absl::ToDoubleSeconds(absl::Now() - start);
}

}  // namespace

absl::Status MeasureThroughput(World& world, const Plan& plan, Figures& figures) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Process> agent,
                           world.StartAgent(world.agent(), "throughput", 0));
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Process> echo, world.StartEcho());
  POSTERN_ASSIGN_OR_RETURN(Clients to_agent, ConnectAll(world, kAgentAddress));
  POSTERN_ASSIGN_OR_RETURN(Clients to_echo, ConnectAll(world, kFloorAddress));
  POSTERN_RETURN_IF_ERROR(CallAll(to_echo, plan.slice / 3).status());
  POSTERN_RETURN_IF_ERROR(CallAll(to_agent, plan.slice / 3).status());
  Samples echoes;
  Samples grants;
  for (int i = 0; i < plan.slices; ++i) {
    POSTERN_ASSIGN_OR_RETURN(const double echoed, CallAll(to_echo, plan.slice));
    POSTERN_ASSIGN_OR_RETURN(const double granted, CallAll(to_agent, plan.slice));
    echoes.Add(echoed);
    grants.Add(granted);
  }
  figures.Add("throughput_16_over_echo", grants.Quantile(0.5) / echoes.Quantile(0.5), "ratio",
              Target{kLeastOverEcho, /*at_least=*/true});
  figures.Add("grants_per_second_16", grants.Quantile(0.5), "calls/s");
  figures.Add("echoes_per_second_16", echoes.Quantile(0.5), "calls/s");
  return absl::OkStatus();
}

}  // namespace postern::bench
