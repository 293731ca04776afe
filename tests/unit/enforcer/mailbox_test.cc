#include "agent/enforcer/mailbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <thread>

#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

class MailboxTest : public GateTest {
 protected:
  static bool Waits(const Mailbox& mailbox) {
    pollfd readable{.fd = mailbox.fd(), .events = POLLIN, .revents = 0};
    return poll(&readable, 1, 0) == 1;
  }
  Command Count(int id, std::atomic<int>& done) {
    return {.request = CreateGrant{Request(id)},
            .actor = "tester",
            .done = [&done](const absl::StatusOr<Grant>&) { ++done; }};
  }

  Mailbox mailbox_;
};

TEST_F(MailboxTest, WakesForWhatWaitsAndSleepsAfterwards) {
  std::atomic<int> done = 0;
  EXPECT_FALSE(Waits(mailbox_));
  ASSERT_TRUE(mailbox_.Submit(Count(1, done)).ok());
  EXPECT_TRUE(Waits(mailbox_));
  mailbox_.Drain(*gatekeeper_);
  EXPECT_FALSE(Waits(mailbox_));
  EXPECT_EQ(done, 1);
}

TEST_F(MailboxTest, AQueryFindsWhatTheCommandsBeforeItDid) {
  std::atomic<int> done = 0;
  size_t live = 0;
  ASSERT_TRUE(mailbox_.Submit(Count(1, done)).ok());
  ASSERT_TRUE(mailbox_.Ask([&](Gatekeeper& gate) { live = gate.live_grants(); }).ok());
  mailbox_.Drain(*gatekeeper_);
  EXPECT_EQ(live, 1U);
}

TEST_F(MailboxTest, IsBounded) {
  for (size_t i = 0; i < Mailbox::kCapacity; ++i) {
    ASSERT_TRUE(mailbox_.Ask([](Gatekeeper&) {}).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(mailbox_.Ask([](Gatekeeper&) {})));
  mailbox_.Drain(*gatekeeper_);
  EXPECT_TRUE(mailbox_.Ask([](Gatekeeper&) {}).ok());
}

TEST_F(MailboxTest, RefusesOnceClosedAndStillDrains) {
  std::atomic<int> done = 0;
  ASSERT_TRUE(mailbox_.Submit(Count(1, done)).ok());
  mailbox_.Close();
  EXPECT_TRUE(absl::IsUnavailable(mailbox_.Submit(Count(2, done))));
  mailbox_.Drain(*gatekeeper_);
  EXPECT_EQ(done, 1);
}

TEST_F(MailboxTest, ManyThreadsLoseNothing) {
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        ASSERT_TRUE(mailbox_.Submit(Count(t * kEach + i + 1, done)).ok());
      }
    });
  }
  while (done < kThreads * kEach) {
    pollfd readable{.fd = mailbox_.fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&readable, 1, 10'000), 1) << "lost a wake-up";
    mailbox_.Drain(*gatekeeper_);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(gatekeeper_->live_grants(), static_cast<size_t>(kThreads * kEach));
}

}  // namespace
}  // namespace postern
