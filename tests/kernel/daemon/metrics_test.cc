// What Prometheus reads of a running posternd, over HTTP from the exporter.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint16_t kExporterPort = 9743;

class MetricsTest : public DaemonTest {
 protected:
  std::string socket_path() const { return host_->files().Path("metrics.sock"); }

  absl::StatusOr<std::unique_ptr<Process>> Export() {
    return Process::Start(
        host_->network(),
        {EXPORTER_PATH, "--socket", socket_path(), "--port", absl::StrCat(kExporterPort)},
        host_->files().Path("exporter.log"));
  }

  // A connection to the exporter, from the host itself; none when nobody listens.
  Fd Connect() const {
    const Inside host(host_->network());
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(kExporterPort);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.Reset();
    return fd;
  }

  // The answer to one scrape, with its header; waits until there is one.
  std::string Scrape() const {
    const absl::Time end = absl::Now() + kPatience;
    for (;;) {
      std::string answer = ScrapeOnce();
      // It listens before it has registered what it tells.
      if (absl::StrContains(answer, "200 OK") || absl::Now() > end) return answer;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  std::string ScrapeOnce() const {
    const Fd fd = Connect();
    constexpr absl::string_view kRequest =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
    std::string answer;
    std::array<char, 4096> bytes{};
    for (;;) {
      const ssize_t got = recv(fd.get(), bytes.data(), bytes.size(), 0);
      if (got <= 0) return answer;
      answer.append(bytes.data(), static_cast<size_t>(got));
    }
  }
};

TEST_F(MetricsTest, AreScrapedFromTheExporter) {
  host_->Configure(absl::StrCat("metrics_socket: ", socket_path(), "\n"));
  Start();
  Allow(kFriend, absl::Minutes(10));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  const auto exporter = Export();
  ASSERT_OK(exporter.status());
  EXPECT_THAT(Scrape(),
              AllOf(HasSubstr("200 OK"), HasSubstr("\npostern_up 1\n"),
                    HasSubstr("\npostern_live_grants 1\n"), HasSubstr("\npostern_enforcing 1\n"),
                    HasSubstr("\npostern_denied_packets_total 1\n"),
                    HasSubstr("postern_calls_total{code=\"OK\",method=\"CreateGrant\"} 1\n"),
                    HasSubstr("\npostern_apply_seconds_count 1\n")));

  // Whoever connects and asks nothing holds nobody up.
  const Fd silent = Connect();
  EXPECT_THAT(Scrape(), HasSubstr("\npostern_up 1\n"));

  host_->daemon().Kill();
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("\npostern_up 0\n"), Not(HasSubstr("live_grants"))));

  (*exporter)->Signal(SIGTERM);
  EXPECT_EQ((*exporter)->Wait(kPatience).value_or(-1), 0);
}

TEST_F(MetricsTest, AreToldNowhereByDefault) {
  Start();
  const auto exporter = Export();
  ASSERT_OK(exporter.status());
  EXPECT_THAT(Scrape(), HasSubstr("\npostern_up 0\n"));
  EXPECT_THAT((*exporter)->Log(), HasSubstr("metrics_socket"));
}

TEST_F(MetricsTest, AgentsWithoutAPlaceForThemStartAllTheSame) {
  host_->Configure("metrics_socket: /nowhere/metrics.sock\n");
  Start();
  v1::GetStatusResponse status;
  grpc::ClientContext context;
  ASSERT_TRUE(host_->Local()->GetStatus(&context, {}, &status).ok());
  EXPECT_THAT(status.warnings(), Contains(HasSubstr("/nowhere/metrics.sock")));
}

TEST_F(MetricsTest, AnotherProgramOnThePortIsNamed) {
  const auto first = Export();
  ASSERT_OK(first.status());
  Scrape();
  const absl::StatusOr<std::unique_ptr<Process>> second =
      Process::Start(host_->network(), {EXPORTER_PATH, "--port", absl::StrCat(kExporterPort)},
                     host_->files().Path("second.log"));
  ASSERT_OK(second.status());
  EXPECT_EQ((*second)->Wait(kPatience).value_or(-1), 1);
  EXPECT_THAT((*second)->Log(), HasSubstr("127.0.0.1:9743"));
}

}  // namespace
}  // namespace postern
