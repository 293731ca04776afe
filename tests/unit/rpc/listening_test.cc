// The sockets: who gets through to them, and what they leave behind.

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/rpc/sockets.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/rpc/test_agent.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

mode_t ModeOf(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0 ? found.st_mode & 07777 : 0;
}

std::string GroupOfThisProcess() {
  const struct group* entry = getgrgid(getegid());
  return entry == nullptr ? "" : entry->gr_name;
}

// Whether the other side has closed `fd`; waits a little for it.
bool WasClosed(const Fd& fd) {
  const timeval patience{.tv_sec = 0, .tv_usec = 300'000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::array<char, 64> bytes{};
  for (;;) {
    const ssize_t got = recv(fd.get(), bytes.data(), bytes.size(), 0);
    if (got > 0) continue;
    return got == 0 || errno == ECONNRESET;
  }
}

TEST(LocalListener, IsForItsOwnerAndGroupAlone) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("agent.sock");
  const auto listener = LocalListener::Listen(path, GroupOfThisProcess());
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(ModeOf(path), 0660U);
  EXPECT_EQ(listener->warning(), "");
  EXPECT_GE(ConnectTo(path).get(), 0);
}

TEST(LocalListener, WithoutTheGroupItIsForItsOwnerAlone) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("agent.sock");
  const auto listener = LocalListener::Listen(path, "no-such-group");
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(ModeOf(path), 0600U);
  EXPECT_THAT(listener->warning(), HasSubstr("there is no group no-such-group"));
}

TEST(LocalListener, LeavesNothingBehind) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("agent.sock");
  { const auto listener = LocalListener::Listen(path, ""); }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(LocalListener, LeavesAnothersSocketAlone) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("agent.sock");
  auto first = LocalListener::Listen(path, "");
  ASSERT_TRUE(first.ok());
  std::filesystem::remove(path);
  const auto second = LocalListener::Listen(path, "");
  ASSERT_TRUE(second.ok());
  first = absl::CancelledError();
  EXPECT_GE(ConnectTo(path).get(), 0);
}

TEST(LocalListener, ReplacesASocketThatNobodyAnswersOn) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("agent.sock");
  {
    auto killed = LocalListener::Listen(path, "");
    ASSERT_TRUE(killed.ok());
    // As a killed process leaves it.
    std::filesystem::rename(path, path + ".kept");
  }
  std::filesystem::rename(path + ".kept", path);
  const auto listener = LocalListener::Listen(path, "");
  EXPECT_TRUE(listener.ok()) << listener.status();
  EXPECT_GE(ConnectTo(path).get(), 0);
}

TEST(LocalListener, DoesNotPushAnotherProcessAside) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("agent.sock");
  const auto listener = LocalListener::Listen(path, "");
  ASSERT_TRUE(listener.ok());
  const absl::Status status = LocalListener::Listen(path, "").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("another process answers on"));
  EXPECT_GE(ConnectTo(path).get(), 0);
}

TEST(LocalListener, RemovesNothingButSockets) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("agent.sock", "precious");
  const absl::Status status = LocalListener::Listen(path, "").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not a socket"));
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST(LocalListener, SaysWhatIsWrongWithThePath) {
  const absl::Status longer = LocalListener::Listen("/" + std::string(107, 'x'), "").status();
  EXPECT_EQ(longer.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(longer.message()), HasSubstr("has 108 bytes; the kernel takes 1 to 107"));
  const absl::Status nowhere = LocalListener::Listen("/nonexistent/agent.sock", "").status();
  EXPECT_THAT(std::string(nowhere.message()), HasSubstr("socket /nonexistent/agent.sock"));
}

TEST(RpcServer, WhatCannotListenDoesNotStart) {
  TestAgent agent;
  Mailbox mailbox;
  const auto start = [&](const Config& config) {
    return std::string(RpcServer::Start(config, {}, mailbox).status().message());
  };
  Config config = agent.config;
  config.socket = agent.directory.Path("other.sock");
  config.listen->port = agent.remote_port();
  EXPECT_THAT(start(config),
              HasSubstr(absl::StrCat("listen.address 127.0.0.1 port ", agent.remote_port())));
  EXPECT_FALSE(std::filesystem::exists(config.socket));
  config.listen->port = 0;
  config.listen->tls.key = agent.directory.Path("missing.key");
  EXPECT_THAT(start(config), HasSubstr("missing.key"));
}

TEST(IsMissing, TellsWhatThisHostDoesNotHave) {
  EXPECT_TRUE(IsMissing(*Address::Parse("192.0.2.1")));
  EXPECT_TRUE(IsMissing(*Address::Parse("2001:db8::1")));
  for (const char* there : {"127.0.0.1", "0.0.0.0", "::"}) {
    EXPECT_FALSE(IsMissing(*Address::Parse(there))) << there;
  }
}

TEST(RpcServer, WarnsOfAnAddressThatThisHostDoesNotHave) {
  const TestAgent agent;
  EXPECT_THAT(agent.server->warnings(), Not(Contains(HasSubstr("listen.address"))));
  Mailbox mailbox;
  Config config = agent.config;
  config.socket = agent.directory.Path("other.sock");
  config.listen->address = *Address::Parse("192.0.2.1");
  const auto server = RpcServer::Start(config, {}, mailbox);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->warnings(),
              Contains(HasSubstr("listen.address: no interface of this host has 192.0.2.1")));
}

TEST(RpcServer, TheLocalSocketGoesWithIt) {
  TestAgent agent;
  EXPECT_TRUE(std::filesystem::exists(agent.config.socket));
  EXPECT_EQ(ModeOf(agent.config.socket) & 07117, 0U);
  agent.Stop();
  EXPECT_FALSE(std::filesystem::exists(agent.config.socket));
}

TEST(RpcServer, OneAddressHasABoundedShareOfTheConnections) {
  TestAgent agent;
  std::vector<Fd> connections;
  for (int i = 0; i < 32; ++i) connections.push_back(ConnectTo(agent.remote_port()));
  // The oldest, which has said nothing yet, makes room for the newcomer.
  const Fd newcomer = ConnectTo(agent.remote_port());
  EXPECT_FALSE(WasClosed(newcomer));
  EXPECT_TRUE(WasClosed(connections[0]));
  EXPECT_FALSE(WasClosed(connections[1]));
  // The local socket is not concerned.
  v1::GetStatusResponse response;
  EXPECT_TRUE(agent.LocalStub()->GetStatus(NewContext().get(), {}, &response).ok());
}

}  // namespace
}  // namespace postern
