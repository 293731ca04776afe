// An agent without a kernel: a gatekeeper over fakes on a thread of its own, and
// the link to a controller.

#ifndef POSTERN_TESTS_UNIT_CONTROLLER_FLEET_TEST_AGENT_H_
#define POSTERN_TESTS_UNIT_CONTROLLER_FLEET_TEST_AGENT_H_

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "agent/link/link.h"
#include "common/clock.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/temporary_directory.h"

namespace postern::controller {

// A VM whose wall clock is wrong.
class ShiftedClock final : public Clock {
 public:
  explicit ShiftedClock(absl::Duration ahead) : ahead_(ahead) {}

  Now Read() const override {
    Now now = system_.Read();
    now.wall += ahead_;
    return now;
  }
  std::string BootId() const override { return system_.BootId(); }
  bool IsSynchronised() const override { return true; }

 private:
  const SystemClock system_;
  const absl::Duration ahead_;
};

struct TestAgentOptions {
  // "HOST:PORT".
  std::string address = {};
  // PEM.
  std::string ca = {};
  std::string token = {};
  absl::Duration clock_ahead = absl::ZeroDuration();
  uint32_t max_live_grants = 100;
};

class TestAgent {
 public:
  explicit TestAgent(const TestAgentOptions& options);
  TestAgent(const TestAgent&) = delete;
  TestAgent& operator=(const TestAgent&) = delete;
  ~TestAgent();

  LinkState state() const { return link_->state(); }

  // Runs `ask` on the gatekeeper's thread.
  template <typename T>
  T On(const std::function<T(Gatekeeper&)>& ask) {
    std::promise<T> answer;
    EXPECT_EQ(mailbox_.Ask([&](Gatekeeper& gatekeeper) { answer.set_value(ask(gatekeeper)); }),
              absl::OkStatus());
    return answer.get_future().get();
  }

  bool Admits(const std::string& source);
  Grant Get(const std::string& id);
  // Somebody on the VM itself ends it.
  void RevokeLocally(const std::string& id);
  absl::Time Now() const { return clock_.Read().wall; }

 private:
  void Loop();

  const TemporaryDirectory directory_;
  const ShiftedClock clock_;
  FakeStore store_;
  FakeFirewall firewall_{clock_};
  FakeSessions sessions_;
  GatekeeperOptions options_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  Mailbox mailbox_;
  std::unique_ptr<Link> link_;
  std::atomic<bool> stopping_ = false;
  std::thread loop_;
};

}  // namespace postern::controller

#endif  // POSTERN_TESTS_UNIT_CONTROLLER_FLEET_TEST_AGENT_H_
