// Connections that are opened and left, or never become one.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/daemon/load_test.h"

namespace postern {
namespace {

constexpr int kMany = 1000;

// An address that `from` allows, other than the one that gRPC's clients have.
std::string Abuser(int number) { return absl::StrCat("10.9.0.", number + 1); }

Fd ConnectRemote(const std::string& source) {
  absl::StatusOr<Fd> fd = DaemonHost::ClientSocket(SOCK_STREAM, source);
  if (!fd.ok()) return Fd();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(kAgentPort);
  inet_pton(AF_INET, kHostAddress, &to.sin_addr);
  // Does not wait: nobody may be taking connections.
  connect(fd->get(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return *std::move(fd);
}

Fd ConnectLocal(const std::string& path) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return fd;
}

struct Opening {
  const char* name;
  // What the abuser sends on each connection.
  std::string bytes;
};

class LeftConnectionsTest : public LoadTest, public testing::WithParamInterface<Opening> {};

TEST_P(LeftConnectionsTest, OfOneAddressHoldNobodyElseUp) {
  std::vector<Fd> left;
  for (int i = 0; i < kMany; ++i) left.push_back(ConnectRemote(Abuser(0)));
  absl::SleepFor(absl::Milliseconds(100));
  for (const Fd& fd : left) {
    send(fd.get(), GetParam().bytes.data(), GetParam().bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  ExpectServed(*warm_);
  ExpectNewcomerServed();
  ExpectServed(*host_->Local());
}

// Of more addresses than it takes to have every place.
TEST_P(LeftConnectionsTest, OfManyAddressesMakeRoomForNewcomers) {
  std::vector<Fd> left;
  for (int i = 0; i < kMany; ++i) left.push_back(ConnectRemote(Abuser(i % 40)));
  absl::SleepFor(absl::Milliseconds(100));
  for (const Fd& fd : left) {
    send(fd.get(), GetParam().bytes.data(), GetParam().bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  ExpectNewcomerServed();
  ExpectServed(*warm_);
  ExpectServed(*host_->Local());
}

// A record of a ClientHello that is announced and does not come.
const Opening kOpenings[] = {{"Silent", ""},
                             {"Garbage", std::string(4096, '\x5a')},
                             {"HalfAHello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9)},
                             {"PlainHttp2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}};
INSTANTIATE_TEST_SUITE_P(Load, LeftConnectionsTest, testing::ValuesIn(kOpenings),
                         [](const auto& suite) { return std::string(suite.param.name); });

TEST_F(LoadTest, LeftConnectionsOnTheLocalSocketMakeRoomForNewcomers) {
  std::vector<Fd> left;
  for (int i = 0; i < kMany; ++i) left.push_back(ConnectLocal(host_->socket_path()));
  EXPECT_LT(MedianOf([&] { EXPECT_OK(GetStatus(*host_->Local()).status()); }), kServedWithin);
  ExpectServed(*warm_);
  ExpectNewcomerServed();
}

TEST_F(LoadTest, ConnectionsThatComeAndGoHoldNobodyUp) {
  std::atomic<bool> stop = false;
  std::thread remote([&] {
    while (!stop) ConnectRemote(Abuser(0));
  });
  std::thread local([&] {
    while (!stop) ConnectLocal(host_->socket_path());
  });
  ExpectServed(*warm_);
  ExpectNewcomerServed();
  stop = true;
  remote.join();
  local.join();
  ExpectServed(*host_->Local());
}

}  // namespace
}  // namespace postern
