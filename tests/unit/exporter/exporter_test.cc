#include "agent/exporter/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <limits>
#include <string>
#include <thread>

#include "absl/strings/str_split.h"
#include "common/fd.h"
#include "tests/support/temporary_directory.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

v1::Metrics SomeMetrics() {
  v1::Metrics metrics;
  metrics.set_version("1.2.3");
  metrics.mutable_started()->set_seconds(1'700'000'000);
  metrics.set_live_grants(3);
  metrics.set_enforcing(true);
  metrics.set_denied_packets(12);
  metrics.set_repairs(1);
  v1::AnsweredCalls& calls = *metrics.add_calls();
  calls.set_method("CreateGrant");
  calls.set_code("PERMISSION_DENIED");
  calls.set_count(4);
  v1::Latency& commit = *metrics.mutable_commit();
  for (const double up_to : {0.001, 0.01, std::numeric_limits<double>::infinity()}) {
    v1::Latency::Bucket& bucket = *commit.add_buckets();
    bucket.set_up_to(up_to);
    bucket.set_count(2);
  }
  commit.set_sum_seconds(0.5);
  return metrics;
}

// The lines of what Prometheus reads, without HELP and TYPE.
std::vector<std::string> Shown(const std::vector<prometheus::MetricFamily>& families) {
  const std::string text = prometheus::TextSerializer().Serializer::Serialize(families);
  std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  std::erase_if(lines, [](const std::string& line) { return line.front() == '#'; });
  return lines;
}

TEST(FamiliesOf, TellsWhatTheAgentCounts) {
  const std::vector<std::string> lines = Shown(FamiliesOf(SomeMetrics()));
  for (const char* line :
       {"postern_up 1", "postern_build_info{version=\"1.2.3\"} 1",
        "postern_start_time_seconds 1700000000", "postern_enforcing 1", "postern_locked_down 0",
        "postern_live_grants 3", "postern_denied_packets_total 12", "postern_repairs_total 1",
        "postern_calls_total{code=\"PERMISSION_DENIED\",method=\"CreateGrant\"} 4"}) {
    EXPECT_THAT(lines, Contains(line));
  }
}

TEST(FamiliesOf, CumulatesTheBucketsOfAHistogram) {
  const std::vector<std::string> lines = Shown(FamiliesOf(SomeMetrics()));
  for (const char* line : {"postern_commit_seconds_count 6", "postern_commit_seconds_sum 0.5",
                           "postern_commit_seconds_bucket{le=\"0.001\"} 2",
                           "postern_commit_seconds_bucket{le=\"0.01\"} 4",
                           "postern_commit_seconds_bucket{le=\"+Inf\"} 6"}) {
    EXPECT_THAT(lines, Contains(line));
  }
}

// A counter that falls to nothing would be taken for a restart.
TEST(FamiliesOf, LeavesOutWhatCouldNotBeRead) {
  v1::Metrics metrics = SomeMetrics();
  metrics.clear_denied_packets();
  EXPECT_THAT(Shown(FamiliesOf(metrics)), Not(Contains(StartsWith("postern_denied"))));
}

// An agent on `path` that says `bytes` once.
class OneAnswer {
 public:
  OneAnswer(const std::string& path, const std::string& bytes)
      : listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    listen(listener_.get(), 1);
    thread_ = std::thread([this, bytes] {
      const Fd client(accept(listener_.get(), nullptr, nullptr));
      send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    });
  }
  OneAnswer(const OneAnswer&) = delete;
  OneAnswer& operator=(const OneAnswer&) = delete;
  ~OneAnswer() { thread_.join(); }

 private:
  Fd listener_;
  std::thread thread_;
};

TEST(Exporter, AsksTheAgentAtEachScrape) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("metrics.sock");
  const OneAnswer agent(path, SomeMetrics().SerializeAsString());
  EXPECT_THAT(Shown(Exporter(path).Collect()), Contains("postern_live_grants 3"));
}

TEST(Exporter, WithoutAnAgentTellsThatAlone) {
  const TemporaryDirectory directory;
  EXPECT_THAT(Shown(Exporter(directory.Path("nobody.sock")).Collect()),
              ElementsAre("postern_up 0"));
}

TEST(ReadMetrics, NamesTheSocketThatNobodyAnswersOn) {
  const TemporaryDirectory directory;
  const std::string path = directory.Path("nobody.sock");
  const absl::Status status = ReadMetrics(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr(path));
  EXPECT_THAT(status.message(), HasSubstr("metrics_socket"));
}

TEST(ReadMetrics, RefusesAnswersThatAreNone) {
  for (const std::string& bytes :
       {std::string(), std::string("\xff\xff\xff"), std::string(size_t{80} << 10, 'x')}) {
    const TemporaryDirectory directory;
    const std::string path = directory.Path("metrics.sock");
    const OneAnswer agent(path, bytes);
    EXPECT_EQ(ReadMetrics(path).status().code(), absl::StatusCode::kUnavailable) << bytes.size();
  }
}

}  // namespace
}  // namespace postern
