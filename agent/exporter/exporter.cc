#include "agent/exporter/exporter.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/fd.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr timeval kPatience = {.tv_sec = 2, .tv_usec = 0};
// An agent says 2 KiB.
constexpr size_t kMostBytes = size_t{64} << 10;

absl::StatusOr<Fd> Connect(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError("the path of the socket is too long");
  }
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return ErrnoStatus(errno, "making a socket");
  // The second one bounds connect(2), which waits while the agent's backlog is full
  // (unix(7)).
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0 ||
      setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) != 0) {
    return ErrnoStatus(errno, "setsockopt");
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return ErrnoStatus(errno, "connect");
  }
  return fd;
}

absl::StatusOr<std::string> ReadAll(int fd) {
  std::string all;
  std::array<char, 4096> buffer{};
  while (all.size() <= kMostBytes) {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got == 0) return all;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "reading");
    all.append(buffer.data(), static_cast<size_t>(got));
  }
  return absl::UnavailableError(absl::StrCat("it says more than ", kMostBytes, " bytes"));
}

absl::StatusOr<v1::Metrics> ReadFrom(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const Fd fd, Connect(path));
  POSTERN_ASSIGN_OR_RETURN(const std::string bytes, ReadAll(fd.get()));
  v1::Metrics metrics;
  // An agent that could not take one more connection hangs up without a word.
  if (bytes.empty() || !metrics.ParseFromString(bytes)) {
    return absl::UnavailableError("what it says is not an agent's metrics");
  }
  return metrics;
}

MetricFamily Gauge(absl::string_view name, absl::string_view help, double value) {
  ClientMetric metric;
  metric.gauge.value = value;
  return {.name = std::string(name),
          .help = std::string(help),
          .type = MetricType::Gauge,
          .metric = {std::move(metric)}};
}

MetricFamily Counter(absl::string_view name, absl::string_view help, uint64_t value) {
  ClientMetric metric;
  metric.counter.value = static_cast<double>(value);
  return {.name = std::string(name),
          .help = std::string(help),
          .type = MetricType::Counter,
          .metric = {std::move(metric)}};
}

MetricFamily Histogram(absl::string_view name, absl::string_view help, const v1::Latency& latency) {
  ClientMetric metric;
  uint64_t count = 0;
  for (const v1::Latency::Bucket& bucket : latency.buckets()) {
    count += bucket.count();
    metric.histogram.bucket.push_back({.cumulative_count = count, .upper_bound = bucket.up_to()});
  }
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = latency.sum_seconds();
  return {.name = std::string(name),
          .help = std::string(help),
          .type = MetricType::Histogram,
          .metric = {std::move(metric)}};
}

MetricFamily BuildInfo(const std::string& version) {
  MetricFamily family = Gauge("postern_build_info", "The agent's version.", 1);
  family.metric.front().label = {{.name = "version", .value = version}};
  return family;
}

MetricFamily Calls(const v1::Metrics& metrics) {
  MetricFamily family{.name = "postern_calls_total",
                      .help = "Calls of the agent's interface, by how they were answered.",
                      .type = MetricType::Counter,
                      .metric = {}};
  for (const v1::AnsweredCalls& calls : metrics.calls()) {
    ClientMetric metric;
    metric.label = {{.name = "code", .value = calls.code()},
                    {.name = "method", .value = calls.method()}};
    metric.counter.value = static_cast<double>(calls.count());
    family.metric.push_back(std::move(metric));
  }
  return family;
}

MetricFamily Up(bool up) {
  return Gauge("postern_up", "Whether the agent answered on its metrics socket.", up ? 1 : 0);
}

}  // namespace

absl::StatusOr<v1::Metrics> ReadMetrics(const std::string& path) {
  absl::StatusOr<v1::Metrics> metrics = ReadFrom(path);
  if (metrics.ok()) return metrics;
  return absl::UnavailableError(
      absl::StrCat("asking the agent at ", Printable(path), ": ", metrics.status().message(),
                   "; does posternd run, and has its agent.yaml this metrics_socket?"));
}

std::vector<MetricFamily> FamiliesOf(const v1::Metrics& metrics) {
  std::vector<MetricFamily> families = {
      Up(true),
      BuildInfo(metrics.version()),
      Gauge("postern_start_time_seconds", "When the agent started, since the epoch.",
            static_cast<double>(metrics.started().seconds())),
      Gauge("postern_enforcing", "Whether the gate drops what no grant covers.",
            metrics.enforcing() ? 1 : 0),
      Gauge("postern_locked_down", "Whether a lockdown refuses all grants.",
            metrics.locked_down() ? 1 : 0),
      Gauge("postern_live_grants", "Grants that are in force.",
            static_cast<double>(metrics.live_grants())),
      Gauge("postern_withheld_grants",
            "Grants of before the last reboot that wait for a clock to be trusted, or for space on "
            "the disk.",
            static_cast<double>(metrics.withheld_grants())),
      Gauge("postern_warnings", "How many warnings posternctl status shows.",
            static_cast<double>(metrics.warnings())),
      Calls(metrics),
      Histogram("postern_commit_seconds", "How long making changes durable took.",
                metrics.commit()),
      Histogram("postern_apply_seconds", "How long programming changes in the kernel took.",
                metrics.apply()),
      Counter("postern_repairs_total", "Changes of the table by others that were undone.",
              metrics.repairs())};
  if (metrics.has_denied_packets()) {
    families.push_back(Counter("postern_denied_packets_total",
                               "Packets that no grant covered; dropped where the gate enforces.",
                               metrics.denied_packets()));
    families.push_back(Counter("postern_denied_bytes_total", "The bytes of these packets.",
                               metrics.denied_bytes()));
  }
  return families;
}

std::vector<MetricFamily> Exporter::Collect() const {
  const absl::StatusOr<v1::Metrics> metrics = ReadMetrics(path_);
  if (!metrics.ok()) return {Up(false)};
  return FamiliesOf(*metrics);
}

}  // namespace postern
