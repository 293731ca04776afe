// An agent without a kernel: a gatekeeper over fakes on a thread of its own, and
// the link to a controller.

#ifndef POSTERN_TESTS_UNIT_CONTROLLER_FLEET_TEST_AGENT_H_
#define POSTERN_TESTS_UNIT_CONTROLLER_FLEET_TEST_AGENT_H_

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/link/link.h"
#include "common/clock.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/temporary_directory.h"

namespace postern::controller {

// A VM whose wall clock is wrong, and whose time can be let pass.
class ShiftedClock final : public Clock {
 public:
  explicit ShiftedClock(absl::Duration ahead) : ahead_(ahead) {}

  Now Read() const override {
    const absl::Duration passed = absl::Nanoseconds(passed_.load());
    Now now = system_.Read();
    now.boot = now.boot + passed;
    now.wall += ahead_ + passed;
    return now;
  }
  // Any thread.
  void Advance(absl::Duration by) { passed_ += absl::ToInt64Nanoseconds(by); }
  std::string BootId() const override { return system_.BootId(); }
  bool IsSynchronised() const override { return true; }

 private:
  const SystemClock system_;
  const absl::Duration ahead_;
  std::atomic<int64_t> passed_ = 0;
};

struct TestAgentOptions {
  // "HOST:PORT".
  std::string address = {};
  // PEM.
  std::string ca = {};
  std::string token = {};
  absl::Duration clock_ahead = absl::ZeroDuration();
  uint32_t max_live_grants = 100;
  std::vector<Prefix> allowed_sources = Limits().allowed_sources;
};

class TestAgent {
 public:
  explicit TestAgent(const TestAgentOptions& options);
  TestAgent(const TestAgent&) = delete;
  TestAgent& operator=(const TestAgent&) = delete;
  ~TestAgent();

  // posternd stops, and is started again on what it left behind.
  void Stop();
  void Start();

  LinkState state() const { return link_->state(); }

  // Runs `ask` on the gatekeeper's thread.
  template <typename T>
  T On(const std::function<T(Gatekeeper&)>& ask) {
    std::promise<T> answer;
    EXPECT_EQ(mailbox_->Ask([&](Gatekeeper& gatekeeper) { answer.set_value(ask(gatekeeper)); }),
              absl::OkStatus());
    return answer.get_future().get();
  }

  bool Admits(const std::string& source);
  Grant Get(const std::string& id);
  // Somebody on the VM itself ends it.
  void RevokeLocally(const std::string& id);
  // Packets from `source` to port 22 pass.
  void Use(const std::string& source, uint64_t packets);
  // Time passes on the VM, and what is due by it is done.
  void Advance(absl::Duration by);
  absl::Time Now() const { return clock_.Read().wall; }

 private:
  void Loop();

  const TemporaryDirectory directory_;
  ShiftedClock clock_;
  FakeStore store_;
  FakeFirewall firewall_{clock_};
  FakeSessions sessions_;
  GatekeeperOptions options_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  LinkOptions link_options_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<Link> link_;
  std::atomic<bool> stopping_ = false;
  std::thread loop_;
};

}  // namespace postern::controller

#endif  // POSTERN_TESTS_UNIT_CONTROLLER_FLEET_TEST_AGENT_H_
