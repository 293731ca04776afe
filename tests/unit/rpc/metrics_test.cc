// What the agent counts, and the socket that tells it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <string>

#include "agent/rpc/metrics_socket.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/rpc/test_agent.h"

namespace postern {
namespace {

using ::testing::Contains;

// What is said on `fd` until the other side hangs up.
std::string ReadAll(const Fd& fd) {
  std::string all;
  std::array<char, 512> bytes{};
  for (;;) {
    const ssize_t got = recv(fd.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) return all;
    all.append(bytes.data(), static_cast<size_t>(got));
  }
}

TEST(MetricsSocket, TellsWhoeverConnectsAndHangsUp) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("metrics.sock");
  int reads = 0;
  const auto socket = MetricsSocket::Listen(path, [&reads] {
    v1::Metrics metrics;
    metrics.set_live_grants(static_cast<uint64_t>(++reads));
    return metrics;
  });
  ASSERT_TRUE(socket.ok()) << socket.status();
  struct stat found {};
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0666U);

  const Fd first = ConnectTo(path);
  const Fd second = ConnectTo(path);
  const Fd gone = ConnectTo(path);
  shutdown(gone.get(), SHUT_RDWR);
  (*socket)->Serve();
  for (const Fd* client : {&first, &second}) {
    v1::Metrics metrics;
    ASSERT_TRUE(metrics.ParseFromString(ReadAll(*client)));
    EXPECT_EQ(metrics.live_grants(), 1U);
  }
  // The kernel is not asked anew for each of them.
  EXPECT_EQ(reads, 1);
}

TEST(Metrics, CountGrantsCallsAndTheirTime) {
  TestAgent agent;
  const auto stub = agent.RemoteStub(std::string("DNS:") + kOperatorSan);
  ASSERT_TRUE(Create(*stub, NewGrant()).status.ok());
  v1::CreateGrantRequest bad = NewGrant();
  bad.clear_ports();
  ASSERT_FALSE(Create(*stub, bad).status.ok());
  ASSERT_FALSE(GetStatus(*agent.RemoteStub("DNS:stranger.example.org")).ok());

  v1::Metrics metrics;
  agent.OnLoop(
      [&](Gatekeeper& gatekeeper) { metrics = MetricsOf(gatekeeper, agent.server->answered()); });
  EXPECT_EQ(metrics.live_grants(), 1U);
  EXPECT_TRUE(metrics.enforcing());
  uint64_t commits = 0;
  for (const auto& bucket : metrics.commit().buckets()) commits += bucket.count();
  // The start and the grant.
  EXPECT_EQ(commits, 2U);
  uint64_t applies = 0;
  for (const auto& bucket : metrics.apply().buckets()) applies += bucket.count();
  EXPECT_EQ(applies, 1U);

  const auto answered = [&](absl::string_view method, absl::StatusCode code) {
    return Contains(AnsweredCalls{.method = method, .code = code, .count = 1});
  };
  const std::vector<AnsweredCalls> calls = agent.server->answered();
  EXPECT_THAT(calls, answered("CreateGrant", absl::StatusCode::kOk));
  EXPECT_THAT(calls, answered("CreateGrant", absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(calls, answered("GetStatus", absl::StatusCode::kUnauthenticated));
  EXPECT_EQ(metrics.calls_size(), 3);
}

}  // namespace
}  // namespace postern
