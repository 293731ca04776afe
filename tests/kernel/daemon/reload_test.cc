// SIGHUP: what a new configuration changes in a running daemon.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ReloadTest : public DaemonTest {
 protected:
  // Until the log says `outcome`.
  void Reload(const std::string& yaml, const std::string& outcome) {
    host_->Configure(yaml);
    host_->daemon().Signal(SIGHUP);
    ASSERT_OK(host_->AwaitLog(outcome));
  }

  v1::GetStatusResponse Status() {
    const absl::StatusOr<v1::GetStatusResponse> status = GetStatus(*host_->Local());
    EXPECT_OK(status.status());
    return status.value_or(v1::GetStatusResponse());
  }
};

TEST_F(ReloadTest, ChangesTheGateAndTheLimitsAndKeepsTheGrants) {
  Start();
  Allow(kFriend, absl::Minutes(30));
  ASSERT_TRUE(host_->Admits(kStranger, 8022));
  Reload("guard: {ports: [22, 8022]}\nlimits: {max_duration: 10m}\n",
         "reloaded: guard.ports, limits.max_duration");

  EXPECT_THAT(Status().guarded_ports(), ElementsAre(22, 8022));
  EXPECT_FALSE(host_->Admits(kStranger, 8022));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  EXPECT_TRUE(host_->Admits(kStranger, 3389));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  ExpectNoDifference();

  v1::CreateGrantRequest request = NewGrant(kFriend, absl::Minutes(11));
  EXPECT_EQ(Create(*host_->Local(), request).status.error_code(), grpc::FAILED_PRECONDITION);
  request.mutable_duration()->set_seconds(600);
  request.mutable_ports(0)->set_number(8022);
  EXPECT_TRUE(Create(*host_->Local(), request).status.ok());
  EXPECT_TRUE(host_->Admits(kFriend, 8022));
}

TEST_F(ReloadTest, SaysWhichSessionsItWouldShutOutBeforeItDoes) {
  const auto old = host_->OpenSession(kStranger, 22);
  const auto other = host_->OpenSession(kStranger, 8022);
  ASSERT_OK(old.status());
  ASSERT_OK(other.status());
  Start();
  const size_t before = host_->daemon().Log().size();
  Reload("guard: {ports: [22, 8022]}\n", "reloaded: guard.ports");
  const std::string log = host_->daemon().Log().substr(before);
  const size_t warned = log.find("port 8022 stays, but no grant covers it");
  ASSERT_NE(warned, std::string::npos) << log;
  EXPECT_LT(warned, log.find("reloaded: "));
  // That was told at the start, and the reload is not what did it.
  EXPECT_THAT(log, Not(HasSubstr("port 22 stays")));
  EXPECT_TRUE(other->Carries());
}

TEST_F(ReloadTest, ACheckSaysWhichSessionsItWouldShutOut) {
  const auto old = host_->OpenSession(kStranger, 22);
  const auto other = host_->OpenSession(kStranger, 8022);
  ASSERT_OK(old.status());
  ASSERT_OK(other.status());
  Start();
  host_->Configure("guard: {ports: [22, 8022]}\n");
  const auto check = Process::Start(
      host_->network(), {POSTERND_PATH, "--config", host_->config_path(), "--check-config"},
      host_->files().Path("check.log"));
  ASSERT_OK(check.status());
  const absl::StatusOr<int> status = (*check)->Wait(kPatience);
  ASSERT_OK(status.status());
  EXPECT_EQ(*status, 0);
  EXPECT_THAT((*check)->Log(), HasSubstr("port 8022 stays, but could not be opened again"));
  EXPECT_THAT((*check)->Log(), Not(HasSubstr("port 22 stays")));
  EXPECT_TRUE(host_->Admits(kStranger, 8022));
}

TEST_F(ReloadTest, SaysWhatNeedsARestart) {
  Start();
  Reload("state_dir: ../elsewhere\nsocket: ../other.sock\nlimits: {max_duration: 1h}\n",
         "reloaded: limits.max_duration");
  const std::string log = host_->daemon().Log();
  EXPECT_THAT(log, HasSubstr(absl::StrCat("state_dir stays ", host_->state_dir(),
                                          "; restart to change it")));
  EXPECT_THAT(log, HasSubstr(absl::StrCat("socket stays ", host_->socket_path(),
                                          "; restart to change it")));
  EXPECT_EQ(Status().max_duration().seconds(), 3600);
  EXPECT_FALSE(std::filesystem::exists(host_->files().Path("elsewhere")));
}

TEST_F(ReloadTest, ABrokenFileChangesNothing) {
  Start();
  Allow(kFriend, absl::Minutes(1));
  Reload("guard: {ports: [22]}\nlimits: {max_duration: soon}\n",
         absl::StrCat("not reloaded: ", host_->files().Path("agent.yaml.d/test.yaml"), ":2:24: "));
  EXPECT_THAT(Status().guarded_ports(), ElementsAre(22, 3389, 5985, 5986));
  EXPECT_FALSE(host_->Admits(kStranger, 3389));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  ExpectNoDifference();
  // The next one is read as if nothing had been.
  Reload("guard: {ports: [22]}\n", "reloaded: guard.ports");
  EXPECT_TRUE(host_->Admits(kStranger, 3389));
}

TEST_F(ReloadTest, GrantsMadeMeanwhileAreNotDisturbed) {
  Start();
  const auto stub = host_->Local();
  for (int i = 0; i < 40; ++i) {
    host_->Configure(i % 2 == 0 ? "guard: {ports: [22, 8022]}\n" : "guard: {ports: [22]}\n");
    host_->daemon().Signal(SIGHUP);
    const Answer answer = Create(*stub, NewGrant(absl::StrCat("10.0.1.", i), absl::Minutes(1)));
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  }
  ExpectNoDifference();
  EXPECT_EQ(Status().live_grants(), 40U);
}

}  // namespace
}  // namespace postern
