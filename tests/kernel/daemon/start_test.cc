// posternd from its command line to its end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

using StartTest = DaemonTest;

// ---- The command line

TEST_F(StartTest, AGoodConfigurationIsToldSo) {
  EXPECT_EQ(Run({"--check-config"}), 0);
  EXPECT_EQ(host_->daemon().Log(), absl::StrCat(host_->config_path(), ": ok\n"));
  EXPECT_FALSE(TableStands());
}

struct BadConfig {
  const char* name;
  const char* yaml;
  // After the file's name.
  const char* message;
};

class BadConfigTest : public DaemonTest, public testing::WithParamInterface<BadConfig> {};

TEST_P(BadConfigTest, IsToldWithItsPlaceAndChangesNothing) {
  host_->Configure(GetParam().yaml);
  const std::string message =
      absl::StrCat(host_->files().Path("agent.yaml.d/test.yaml"), GetParam().message);
  EXPECT_EQ(Run({"--check-config"}), 1);
  EXPECT_THAT(host_->daemon().Log(), HasSubstr(message));
  // The daemon itself reads it with the same eyes.
  EXPECT_EQ(Run({}), 1);
  EXPECT_THAT(host_->daemon().Log(), HasSubstr(message));
  EXPECT_FALSE(host_->Answers());
}

INSTANTIATE_TEST_SUITE_P(
    Start, BadConfigTest,
    testing::Values(BadConfig{"UnknownKey", "limits:\n  max_duraton: 1h\n", ":2:3: "},
                    BadConfig{"DuplicateKey", "mode: enforce\nmode: observe\n", ":2:1: "},
                    BadConfig{"WrongType", "guard:\n  ports: ssh\n", ":2:10: "},
                    BadConfig{
                        "MissingCertificate",
                        "listen:\n  tls: {cert: ../none.pem, key: ../agent.key, ca: ../ca.pem}\n",
                        ":2:15: "}),
    [](const auto& suite) { return std::string(suite.param.name); });

TEST_F(StartTest, AMissingConfigurationIsToldSo) {
  std::filesystem::remove(host_->config_path());
  EXPECT_EQ(Run({"--check-config"}), 1);
  EXPECT_THAT(host_->daemon().Log(), HasSubstr(host_->config_path()));
}

TEST_F(StartTest, ItSaysWhatItIs) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(host_->daemon().Log(), HasSubstr("--check-config"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_THAT(host_->daemon().Log(), HasSubstr("posternd "));
  EXPECT_EQ(Run({"--open-everything"}), 2);
  EXPECT_FALSE(TableStands());
}

TEST_F(StartTest, LockdownClosesTheGateAndExits) {
  ASSERT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_THAT(host_->daemon().Log(), HasSubstr("GATE_MADE"));
  EXPECT_FALSE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Answers());
}

TEST_F(StartTest, LockdownLeavesAStandingGateAsItIs) {
  Start();
  Allow(kFriend, absl::Minutes(1));
  host_->daemon().Kill();
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_THAT(host_->daemon().Log(), Not(HasSubstr("GATE_MADE")));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

// As when somebody broke it before a reboot.
TEST_F(StartTest, LockdownClosesTheDefaultPortsWhereTheConfigurationCannotBeRead) {
  host_->Configure("guard: {ports: ssh}\n");
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_THAT(host_->daemon().Log(), HasSubstr("ports"));
  EXPECT_FALSE(host_->Admits(kFriend, 22));
}

TEST_F(StartTest, LockdownNeedsNoCertificate) {
  std::filesystem::remove(host_->files().Path("agent.pem"));
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_FALSE(host_->Admits(kFriend, 22));
}

// A host may enforce against its agent.yaml: posternctl arm.
TEST_F(StartTest, LockdownKeepsClosedWhatWasClosedLast) {
  Start();
  host_->daemon().Kill();
  ASSERT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  host_->Configure("mode: observe\n");
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_FALSE(host_->Admits(kFriend, 22));
}

TEST_F(StartTest, LockdownOfAHostThatOnlyObservedClosesNothing) {
  host_->Configure("mode: observe\n");
  Start();
  host_->daemon().Kill();
  ASSERT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  EXPECT_EQ(Run({"--lockdown"}), 0) << host_->daemon().Log();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
}

TEST_F(StartTest, RemoveGateOpensWhatTheStoppedDaemonLeftClosed) {
  Start();
  host_->daemon().Kill();
  ASSERT_FALSE(host_->Admits(kStranger, 22));
  // Whoever removes the package may have broken its configuration before.
  host_->Configure("guard: {ports: ssh}\n");
  EXPECT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  EXPECT_THAT(host_->daemon().Log(), HasSubstr("The gate is down"));
  EXPECT_FALSE(TableStands());
  EXPECT_TRUE(host_->Admits(kStranger, 22));
  EXPECT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  EXPECT_THAT(host_->daemon().Log(), HasSubstr("No gate stands"));
}

// Without the socket, as where its folder went away: the kernel tells the owner.
TEST_F(StartTest, RemoveGateIsRefusedWhileTheDaemonRuns) {
  Start();
  for (const bool with_socket : {true, false}) {
    if (!with_socket) {
      if (!host_->firewall().capabilities().protects_tables) break;
      std::filesystem::remove(host_->socket_path());
    }
    const auto remover = Process::Start(
        host_->network(), {POSTERND_PATH, "--config", host_->config_path(), "--remove-gate"},
        host_->files().Path("remover.log"));
    ASSERT_OK(remover.status());
    const absl::StatusOr<int> status = (*remover)->Wait(kPatience);
    ASSERT_OK(status.status());
    EXPECT_EQ(*status, 1);
    EXPECT_THAT((*remover)->Log(), HasSubstr("systemctl stop postern-agent"));
    EXPECT_FALSE(host_->Admits(kStranger, 22));
  }
  EXPECT_OK(host_->daemon().Alive());
}

// ---- Start

TEST_F(StartTest, TheGateIsClosedBeforeAnybodyIsServed) {
  ASSERT_TRUE(host_->Admits(kStranger, 22));
  ASSERT_OK(host_->Launch());
  while (!host_->Answers()) ASSERT_OK(host_->daemon().Alive());
  EXPECT_TRUE(TableStands());
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

TEST_F(StartTest, ASourceThatIsRefusedIsALineInTheLogAndToBeAskedFor) {
  Start();
  ASSERT_FALSE(host_->Admits(kFriend, 22));
  EXPECT_OK(host_->AwaitLog(
      absl::StrCat("denied: ", kFriend, " knocked on 22/udp and no grant covers it")));
  v1::ListDeniedResponse denied;
  grpc::ClientContext context;
  ASSERT_TRUE(host_->Remote()->ListDenied(&context, {}, &denied).ok());
  ASSERT_EQ(denied.sources_size(), 1);
  EXPECT_EQ(denied.sources(0).source_address(), kFriend);
  EXPECT_EQ(denied.sources(0).packets(), 1U);
}

TEST_F(StartTest, GrantsOverTlsAndOverTheLocalSocketOpenTheGate) {
  Start();
  const Answer remote = Create(*host_->Remote(), NewGrant(kFriend, absl::Minutes(1)));
  ASSERT_TRUE(remote.status.ok()) << remote.status.error_message();
  EXPECT_EQ(remote.grant.created_by(), kControllerSan);
  const v1::Grant local = Allow("10.0.0.9", absl::Minutes(1));
  EXPECT_EQ(local.created_by(), "local");
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_TRUE(host_->Admits("10.0.0.9", 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  EXPECT_FALSE(host_->Admits(kFriend, 3389));
  ExpectNoDifference();
}

TEST_F(StartTest, ASecondDaemonDoesNotDisturbTheFirst) {
  Start();
  Allow(kFriend, absl::Minutes(1));
  auto second = Process::Start(host_->network(), {POSTERND_PATH, "--config", host_->config_path()},
                               host_->files().Path("second.log"));
  ASSERT_OK(second.status());
  const absl::StatusOr<int> status = (*second)->Wait(kPatience);
  ASSERT_OK(status.status());
  EXPECT_EQ(*status, 1) << (*second)->Log();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  Allow("10.0.0.9", absl::Minutes(1));
  ExpectNoDifference();
}

TEST_F(StartTest, TheStatusWarnsWhileTheHostHasNotTheAddressToListenOn) {
  host_->Configure("listen: {address: \"192.0.2.77:7443\"}\n");
  Start();
  const auto warnings = [&] {
    const absl::StatusOr<v1::GetStatusResponse> status = GetStatus(*host_->Local());
    EXPECT_OK(status.status());
    return status.value_or(v1::GetStatusResponse()).warnings();
  };
  EXPECT_THAT(warnings(), Contains(HasSubstr("no interface of this host has 192.0.2.77")));
  ASSERT_OK(host_->network().AddAddress("lo", "192.0.2.77/32"));
  EXPECT_THAT(warnings(), Not(Contains(HasSubstr("no interface"))));
}

// ---- The end

TEST_F(StartTest, AStopLeavesTheGateClosedAndLiveGrantsOpen) {
  Start();
  Allow(kFriend, absl::Minutes(1));
  const v1::Grant brief = Allow("10.0.0.9", absl::Seconds(3));
  host_->daemon().Signal(SIGTERM);
  const absl::StatusOr<int> status = host_->daemon().Wait(kPatience);
  ASSERT_OK(status.status());
  EXPECT_EQ(*status, 0) << host_->daemon().Log();
  EXPECT_FALSE(std::filesystem::exists(host_->socket_path()));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  // The kernel closes what nobody is left to close.
  SleepUntil(ToTime(brief.end_time()) + absl::Milliseconds(50));
  EXPECT_FALSE(host_->Admits("10.0.0.9", 22));

  Start();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  ExpectNoDifference();
  const Answer ended = Get(*host_->Local(), brief.id());
  EXPECT_EQ(ended.grant.state(), v1::EXPIRED);
  EXPECT_EQ(ToTime(ended.grant.end_time()), ToTime(brief.end_time()));
}

TEST_F(StartTest, AStopEndsStreamsAndDoesNotWaitForThem) {
  Start();
  const auto stub = host_->Local();
  const auto context = NewContext();
  const auto stream = stub->WatchEvents(context.get(), {});
  stream->WaitForInitialMetadata();
  host_->daemon().Signal(SIGTERM);
  const absl::StatusOr<int> status = host_->daemon().Wait(kPatience);
  ASSERT_OK(status.status());
  EXPECT_EQ(*status, 0);
  v1::AuditEvent event;
  while (stream->Read(&event)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::UNAVAILABLE);
}

}  // namespace
}  // namespace postern
