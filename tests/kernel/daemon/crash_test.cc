// SIGKILL between any two steps: before each write, each flush and each message
// of the daemon, one after the other.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/daemon/daemon_test.h"
#include "tests/kernel/daemon/stepper.h"

namespace postern {
namespace {

// More than there are: a test that never comes to its end is no test.
constexpr uint64_t kMostEffects = 500;
// Otherwise nothing was stepped through.
constexpr uint64_t kFewestEffects = 10;

class CrashTest : public DaemonTest {
 protected:
  void LaunchInSteps() {
    stepper_.reset();
    absl::StatusOr<std::unique_ptr<Stepper>> stepper =
        Stepper::Start(host_->network(), {POSTERND_PATH, "--config", host_->config_path()},
                       host_->files().Path("steps.log"));
    ASSERT_OK(stepper.status());
    stepper_ = *std::move(stepper);
  }

  // Until it serves or has been killed.
  void AwaitService() {
    const absl::Time end = absl::Now() + kPatience;
    while (!stepper_->killed() && !GetStatus(*host_->Local()).ok()) {
      ASSERT_LT(absl::Now(), end) << stepper_->process().Log();
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  // Dead, and then alive again: who has access has it, nobody else, and the
  // kernel holds what the ledger says.
  void ExpectAllHolds() {
    stepper_->process().Kill();
    EXPECT_TRUE(host_->Admits(kFriend, 22));
    EXPECT_FALSE(host_->Admits(kStranger, 22));
    Start();
    EXPECT_TRUE(host_->Admits(kFriend, 22));
    EXPECT_FALSE(host_->Admits(kStranger, 22));
    ExpectNoDifference();
    // A killed daemon leaves its last word to the next.
    host_->daemon().Kill();
  }

  std::unique_ptr<Stepper> stepper_;
};

TEST_F(CrashTest, AtAnyStepOfAStartLosesNothing) {
  Start();
  const v1::Grant standing = Allow(kFriend, absl::Minutes(30));
  host_->daemon().Kill();
  uint64_t effects = 0;
  for (;; ++effects) {
    SCOPED_TRACE(absl::StrCat("killed after ", effects, " effects"));
    ASSERT_LT(effects, kMostEffects);
    LaunchInSteps();
    stepper_->KillAfter(effects);
    // The answer to GetStatus is an effect as well.
    AwaitService();
    if (HasFatalFailure()) return;
    const bool killed = stepper_->killed();
    ExpectAllHolds();
    if (HasFailure() || !killed) break;
  }
  EXPECT_GT(effects, kFewestEffects);
}

TEST_F(CrashTest, AtAnyStepOfAChangeMakesItWhollyOrNotAtAll) {
  Start();
  Allow(kFriend, absl::Minutes(30));
  host_->daemon().Kill();
  uint64_t effects = 0;
  for (;; ++effects) {
    SCOPED_TRACE(absl::StrCat("killed after ", effects, " effects"));
    ASSERT_LT(effects, kMostEffects);
    LaunchInSteps();
    AwaitService();
    if (HasFatalFailure()) return;
    const auto stub = host_->Local();
    const Answer extended = Create(*stub, NewGrant("10.0.0.8", absl::Minutes(10)));
    const Answer revoked = Create(*stub, NewGrant("10.0.0.9", absl::Minutes(10)));
    ASSERT_TRUE(extended.status.ok() && revoked.status.ok());

    stepper_->KillAfter(effects);
    const v1::CreateGrantRequest request = NewGrant("10.0.0.10", absl::Minutes(10));
    const bool created = Create(*stub, request).status.ok();
    const Answer extension = Extend(*stub, extended.grant.id(), absl::Minutes(1));
    const bool gone = Revoke(*stub, revoked.grant.id()).status.ok();
    const bool killed = stepper_->killed();
    EXPECT_EQ(killed, !gone);
    stepper_->process().Kill();
    if (created) {
      EXPECT_TRUE(host_->Admits("10.0.0.10", 22));
    }
    if (gone) {
      EXPECT_FALSE(host_->Admits("10.0.0.9", 22));
    }
    EXPECT_TRUE(host_->Admits("10.0.0.8", 22));

    Start();
    const auto next = host_->Local();
    const Answer found = Get(*next, request.id());
    EXPECT_EQ(found.status.ok(), host_->Admits("10.0.0.10", 22));
    if (created) {
      EXPECT_EQ(found.grant.state(), v1::ACTIVE);
    }
    const Answer longer = Get(*next, extended.grant.id());
    const absl::Duration by = ToTime(longer.grant.end_time()) - ToTime(extended.grant.end_time());
    EXPECT_TRUE(by == absl::Minutes(1) || (by == absl::ZeroDuration() && !extension.status.ok()))
        << by;
    const v1::GrantState state = Get(*next, revoked.grant.id()).grant.state();
    EXPECT_TRUE(state == v1::REVOKED || (state == v1::ACTIVE && !gone));
    EXPECT_EQ(state == v1::ACTIVE, host_->Admits("10.0.0.9", 22));
    // For the next round.
    for (const std::string& id : {request.id(), extended.grant.id(), revoked.grant.id()}) {
      Revoke(*next, id);
    }
    ExpectAllHolds();
    if (HasFailure() || !killed) break;
  }
  EXPECT_GT(effects, kFewestEffects);
}

TEST_F(CrashTest, AtAnyStepOfARevokeItsSessionsEndWithIt) {
  constexpr char kGuest[] = "10.0.0.11";
  Start();
  Allow(kFriend, absl::Minutes(30));
  host_->daemon().Kill();
  uint64_t effects = 0;
  for (;; ++effects) {
    SCOPED_TRACE(absl::StrCat("killed after ", effects, " effects"));
    ASSERT_LT(effects, kMostEffects);
    LaunchInSteps();
    AwaitService();
    if (HasFatalFailure()) return;
    const auto stub = host_->Local();
    const Answer grant = Create(*stub, NewGrant(kGuest, absl::Minutes(10)));
    ASSERT_TRUE(grant.status.ok());
    const absl::StatusOr<DaemonHost::Session> session = host_->OpenSession(kGuest, 22);
    ASSERT_OK(session.status());
    ASSERT_TRUE(session->Carries());

    stepper_->KillAfter(effects);
    const bool gone = Revoke(*stub, grant.grant.id()).status.ok();
    const bool killed = stepper_->killed();
    stepper_->process().Kill();
    if (gone) {
      EXPECT_FALSE(session->Carries());
    }
    Start();
    const auto next = host_->Local();
    const v1::GrantState state = Get(*next, grant.grant.id()).grant.state();
    EXPECT_EQ(state == v1::ACTIVE, session->Carries());
    Revoke(*next, grant.grant.id());
    EXPECT_FALSE(session->Carries());
    ExpectAllHolds();
    if (HasFailure() || !killed) break;
  }
  EXPECT_GT(effects, kFewestEffects);
}

}  // namespace
}  // namespace postern
