// What posternd tells the service manager, which is this process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A message's assignments, such as READY=1.
using Message = std::vector<std::string>;

// Of a daemon that is watched, the time within which it must be heard; it speaks
// after half to three quarters of it.
constexpr absl::Duration kWatchdog = absl::Milliseconds(400);

class NotifyTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    manager_ = Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    NotifySocket().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(manager_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }

  // As the service manager starts it.
  void Launch(const std::vector<std::string>& environment = {}) {
    std::vector<std::string> command = {"/usr/bin/env",
                                        absl::StrCat("NOTIFY_SOCKET=", NotifySocket())};
    command.insert(command.end(), environment.begin(), environment.end());
    command.insert(command.end(), {POSTERND_PATH, "--config", host_->config_path()});
    absl::StatusOr<std::unique_ptr<Process>> daemon =
        Process::Start(host_->network(), command, host_->files().Path("log"));
    ASSERT_OK(daemon.status());
    daemon_ = *std::move(daemon);
  }

  // The next message, or none within `patience`.
  Message Next(absl::Duration patience) {
    pollfd arrived{.fd = manager_.get(), .events = POLLIN, .revents = 0};
    if (poll(&arrived, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) != 1) return {};
    std::array<char, 4096> bytes{};
    const ssize_t size = recv(manager_.get(), bytes.data(), bytes.size(), 0);
    if (size < 0) return {};
    return absl::StrSplit(absl::string_view(bytes.data(), static_cast<size_t>(size)), '\n');
  }

  // The next message that has an assignment which starts with `prefix`.
  Message Await(const std::string& prefix) {
    for (;;) {
      Message message = Next(kPatience);
      if (message.empty()) {
        ADD_FAILURE() << "no " << prefix << "; the daemon said:\n" << daemon_->Log();
        return {};
      }
      for (const std::string& assignment : message) {
        if (absl::StartsWith(assignment, prefix)) return message;
      }
    }
  }

  // The line of `systemctl status`.
  static std::string StatusOf(const Message& message) {
    for (const std::string& assignment : message) {
      if (absl::StartsWith(assignment, "STATUS=")) return assignment;
    }
    return "";
  }

  // What has arrived by now.
  std::vector<Message> Drain() {
    std::vector<Message> messages;
    for (Message next = Next(absl::ZeroDuration()); !next.empty();
         next = Next(absl::ZeroDuration())) {
      messages.push_back(std::move(next));
    }
    return messages;
  }

  void ExpectFailedStart() {
    Launch();
    const absl::StatusOr<int> status = daemon_->Wait(kPatience);
    ASSERT_OK(status.status());
    EXPECT_EQ(*status, 1) << daemon_->Log();
    for (const Message& message : Drain()) EXPECT_THAT(message, Not(Contains("READY=1")));
  }

  std::string NotifySocket() const { return host_->files().Path("notify.sock"); }

  Fd manager_;
  std::unique_ptr<Process> daemon_;
};

// ---- Ready

TEST_F(NotifyTest, ReadyMeansAClosedGateAndASocketThatServes) {
  ASSERT_TRUE(host_->Admits(kStranger, 22));
  Launch();
  EXPECT_THAT(Await("READY=1"), Contains(StartsWith("STATUS=")));
  EXPECT_TRUE(host_->Answers());
  EXPECT_OK(GetStatus(*host_->Local()).status());
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

// The last step before it serves.
TEST_F(NotifyTest, AStartWithoutItsPortIsNeverReady) {
  const absl::StatusOr<Fd> taken = host_->HostSocket(SOCK_STREAM, kAgentPort);
  ASSERT_OK(taken.status());
  ASSERT_EQ(listen(taken->get(), 1), 0);
  ExpectFailedStart();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

TEST_F(NotifyTest, AStartWithABrokenConfigurationIsNeverReadyAndLeavesAStandingGate) {
  Launch();
  Await("READY=1");
  Allow(kFriend, absl::Minutes(1));
  daemon_->Kill();
  Drain();
  host_->Configure("guard: {ports: ssh}\n");
  ExpectFailedStart();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

// As when the ruleset was flushed meanwhile.
TEST_F(NotifyTest, AStartWithoutItsCertificateMakesTheGateAgain) {
  Launch();
  Await("READY=1");
  daemon_->Kill();
  Drain();
  ASSERT_EQ(Run({"--remove-gate"}), 0) << host_->daemon().Log();
  ASSERT_TRUE(host_->Admits(kStranger, 22));
  std::filesystem::remove(host_->files().Path("agent.pem"));
  ExpectFailedStart();
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

// ---- The status line

TEST_F(NotifyTest, TheStatusFollowsWhatIsLive) {
  Launch();
  const std::string at_rest = StatusOf(Await("READY=1"));
  const v1::Grant grant = Allow(kFriend, absl::Minutes(1));
  const std::string with_grant = StatusOf(Await("STATUS="));
  EXPECT_NE(with_grant, at_rest);
  EXPECT_TRUE(Revoke(*host_->Local(), grant.id()).status.ok());
  EXPECT_EQ(StatusOf(Await("STATUS=")), at_rest);
}

// ---- Reload and stop

// Whoever began a reload waits for the end of it, whatever came of it.
TEST_F(NotifyTest, AReloadBeginsAndEnds) {
  Launch();
  Await("READY=1");
  for (const char* yaml : {"guard: {ports: [22]}\n", "guard: {ports: ssh}\n"}) {
    host_->Configure(yaml);
    daemon_->Signal(SIGHUP);
    EXPECT_THAT(Await("RELOADING=1"), Contains(StartsWith("MONOTONIC_USEC=")));
    Await("READY=1");
  }
  EXPECT_TRUE(host_->Admits(kStranger, 3389)) << "the first file was to be in force";
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

TEST_F(NotifyTest, AStopIsTold) {
  Launch();
  Await("READY=1");
  daemon_->Signal(SIGTERM);
  Await("STOPPING=1");
  const absl::StatusOr<int> status = daemon_->Wait(kPatience);
  ASSERT_OK(status.status());
  EXPECT_EQ(*status, 0);
}

// ---- The watchdog

// Stops one thread of a process for as long as it lives.
class Frozen {
 public:
  explicit Frozen(pid_t thread) : thread_(thread) {
    if (ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr) != 0 ||
        ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) != 0 ||
        waitpid(thread_, nullptr, __WALL) != thread_) {
      status_ = ErrnoStatus(errno, "stopping a thread");
    }
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  ~Frozen() { ptrace(PTRACE_DETACH, thread_, nullptr, nullptr); }

  const absl::Status& status() const { return status_; }

 private:
  const pid_t thread_;
  absl::Status status_;
};

TEST_F(NotifyTest, TheLoopAndNoOtherThreadFeedsTheWatchdog) {
  Launch({absl::StrCat("WATCHDOG_USEC=", absl::ToInt64Microseconds(kWatchdog))});
  Await("READY=1");
  for (int i = 0; i < 3; ++i) Await("WATCHDOG=1");
  {
    // The loop's thread is the first; gRPC's run on.
    const Frozen loop(daemon_->pid());
    ASSERT_OK(loop.status());
    Drain();
    EXPECT_TRUE(host_->Answers());
    EXPECT_THAT(Next(3 * kWatchdog), Not(Contains("WATCHDOG=1")));
  }
  Await("WATCHDOG=1");
}

// A loop with nothing to do sleeps.
TEST_F(NotifyTest, NobodyFeedsAWatchdogThatIsNotThere) {
  Launch();
  Await("READY=1");
  EXPECT_THAT(Next(3 * kWatchdog), IsEmpty());
}

}  // namespace
}  // namespace postern
