// The agent's sleep. A program of its own: gRPC clients, or an agent that has
// been stopped, leave threads behind.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/unit/rpc/test_agent.h"

namespace postern {
namespace {

// The threads of this process, and its wake-ups so far.
struct Activity {
  int threads = 0;
  int64_t switches = 0;
};
Activity Measure() {
  Activity activity;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    ++activity.threads;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("voluntary_ctxt_switches:", 0) == 0) {
        activity.switches += std::stoll(line.substr(line.find(':') + 1));
      }
    }
  }
  return activity;
}

TEST(RpcServer, SleepsWhenNobodyIsConnected) {
  TestAgent agent;
  const int quiet = Measure().threads;
  Fd local = ConnectTo(agent.config.socket);
  Fd remote = ConnectTo(agent.remote_port());
  while (Measure().threads == quiet) std::this_thread::yield();
  local.Reset();
  remote.Reset();
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Measure().threads > quiet && std::chrono::steady_clock::now() < patience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_EQ(Measure().threads, quiet);

  // Only this thread's own sleep wakes anything.
  const Activity before = Measure();
  std::this_thread::sleep_for(std::chrono::seconds(3));
  EXPECT_LE(Measure().switches - before.switches, 1);
  // And it wakes up when somebody comes.
  v1::GetStatusResponse response;
  EXPECT_TRUE(agent.LocalStub()->GetStatus(NewContext().get(), {}, &response).ok());
}

}  // namespace
}  // namespace postern
