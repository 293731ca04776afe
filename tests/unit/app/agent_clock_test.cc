// Whom the agent believes that its clock is right, where the kernel may not be
// asked.

#include "agent/app/agent_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/fd.h"
#include "tests/support/temporary_directory.h"

namespace postern {
namespace {

using ::testing::ElementsAre;

// The system's bus, with timedated behind it, on the loop of the test.
class FakeBus {
 public:
  FakeBus(sd_event* loop, const std::string& path) : loop_(loop) {
    listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
    EXPECT_GE(sd_event_add_io(loop_, &source_, listener_.get(), EPOLLIN, OnConnection, this), 0);
  }
  FakeBus(const FakeBus&) = delete;
  FakeBus& operator=(const FakeBus&) = delete;
  ~FakeBus() {
    sd_event_source_disable_unref(source_);
    for (sd_bus* client : clients_) sd_bus_close_unref(client);
  }

  // What timedated says; an error where it cannot be started.
  std::optional<bool> synchronised;
  // It takes its time.
  bool silent = false;
  // What was asked for, in order.
  std::vector<std::string> asked;

 private:
  static int OnConnection(sd_event_source*, int fd, uint32_t, void* data) {
    auto* self = static_cast<FakeBus*>(data);
    const int connection = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    sd_bus* client = nullptr;
    EXPECT_GE(sd_bus_new(&client), 0);
    EXPECT_GE(sd_bus_set_fd(client, connection, connection), 0);
    EXPECT_GE(sd_bus_set_server(client, 1, {}), 0);
    EXPECT_GE(sd_bus_add_filter(client, nullptr, OnMessage, self), 0);
    EXPECT_GE(sd_bus_start(client), 0);
    EXPECT_GE(sd_bus_attach_event(client, self->loop_, SD_EVENT_PRIORITY_NORMAL), 0);
    self->clients_.push_back(client);
    return 0;
  }

  static int OnMessage(sd_bus_message* message, void* data, sd_bus_error*) {
    return static_cast<FakeBus*>(data)->Answer(message);
  }

  int Answer(sd_bus_message* message) {
    if (sd_bus_message_is_method_call(message, "org.freedesktop.DBus", "Hello") > 0) {
      return sd_bus_reply_method_return(message, "s", ":1.1");
    }
    if (sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Properties", "Get") <= 0) {
      return 0;
    }
    const char* interface = nullptr;
    const char* property = nullptr;
    EXPECT_GE(sd_bus_message_read(message, "ss", &interface, &property), 0);
    asked.push_back(absl::StrCat(sd_bus_message_get_destination(message), " ",
                                 sd_bus_message_get_path(message), " ", interface, ".", property));
    if (silent) return 1;
    if (!synchronised) {
      return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_SERVICE_UNKNOWN, "not here");
    }
    return sd_bus_reply_method_return(message, "v", "b", *synchronised ? 1 : 0);
  }

  sd_event* const loop_;
  Fd listener_;
  sd_event_source* source_ = nullptr;
  std::vector<sd_bus*> clients_;
};

class AgentClockTest : public testing::Test {
 protected:
  AgentClockTest() { EXPECT_GE(sd_event_new(&loop_), 0); }
  ~AgentClockTest() override {
    clock_.reset();
    bus_.reset();
    sd_event_unref(loop_);
  }

  void StartBus() { bus_ = std::make_unique<FakeBus>(loop_, files_.Path("bus")); }

  void NewClock(bool kernel_says_so = false) {
    clock_ = std::make_unique<AgentClock>(
        loop_, AgentClock::Sources{.kernel = [kernel_says_so] { return kernel_says_so; },
                                   .timesyncd = files_.Path("synchronized"),
                                   .bus = absl::StrCat("unix:path=", files_.Path("bus"))});
  }

  // Runs the loop until nothing happens any more.
  void Settle() {
    while (sd_event_run(loop_, 100'000) > 0) {
    }
  }
  // Runs it until the clock says so; false after a while.
  bool ComesToSaySo() {
    for (int i = 0; i < 50; ++i) {
      if (clock_->IsSynchronised()) return true;
      sd_event_run(loop_, 100'000);
    }
    return false;
  }

  const TemporaryDirectory files_;
  sd_event* loop_ = nullptr;
  std::unique_ptr<FakeBus> bus_;
  std::unique_ptr<AgentClock> clock_;
};

TEST_F(AgentClockTest, TheKernelIsBelieved) {
  NewClock(/*kernel_says_so=*/true);
  EXPECT_TRUE(clock_->IsSynchronised());
}

TEST_F(AgentClockTest, WithNobodyToAskItIsNot) {
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  Settle();
  EXPECT_FALSE(clock_->IsSynchronised());
}

TEST_F(AgentClockTest, TimesyncdLeavesASign) {
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  files_.Write("synchronized", "");
  EXPECT_TRUE(clock_->IsSynchronised());
}

TEST_F(AgentClockTest, TimedatedIsAskedForTheNextTime) {
  StartBus();
  bus_->synchronised = true;
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  Settle();
  EXPECT_TRUE(clock_->IsSynchronised());
  EXPECT_THAT(bus_->asked, ElementsAre("org.freedesktop.timedate1 /org/freedesktop/timedate1 "
                                       "org.freedesktop.timedate1.NTPSynchronized"));
}

TEST_F(AgentClockTest, TimedatedMaySayNo) {
  StartBus();
  bus_->synchronised = false;
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  Settle();
  EXPECT_EQ(bus_->asked.size(), 1U);
  EXPECT_FALSE(clock_->IsSynchronised());
}

TEST_F(AgentClockTest, AnAnswerThatDoesNotComeIsWaitedForByNobodyAndAskedForOnce) {
  StartBus();
  bus_->silent = true;
  NewClock();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(clock_->IsSynchronised());
  Settle();
  EXPECT_FALSE(clock_->IsSynchronised());
  EXPECT_EQ(bus_->asked.size(), 1U);
}

TEST_F(AgentClockTest, AnErrorIsNoAnswerAndTheNextOneCounts) {
  StartBus();
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  Settle();
  EXPECT_EQ(bus_->asked.size(), 1U);
  bus_->synchronised = true;
  EXPECT_TRUE(ComesToSaySo());
}

TEST_F(AgentClockTest, ABusThatComesLaterIsFound) {
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  StartBus();
  bus_->synchronised = true;
  EXPECT_TRUE(ComesToSaySo());
}

TEST_F(AgentClockTest, ABusThatGoesAwayTakesNothingWithIt) {
  StartBus();
  bus_->silent = true;
  NewClock();
  EXPECT_FALSE(clock_->IsSynchronised());
  Settle();
  bus_.reset();
  Settle();
  EXPECT_FALSE(clock_->IsSynchronised());
  unlink(files_.Path("bus").c_str());
  StartBus();
  bus_->synchronised = true;
  EXPECT_TRUE(ComesToSaySo());
}

}  // namespace
}  // namespace postern
