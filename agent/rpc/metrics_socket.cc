#include "agent/rpc/metrics_socket.h"

#include <sys/socket.h>

#include <limits>

#include "absl/status/status.h"
#include "agent/rpc/convert.h"
#include "common/latency_histogram.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr int kAcceptsPerTurn = 16;
constexpr std::chrono::seconds kFresh{1};

v1::Latency ToProto(const LatencyHistogram& histogram) {
  v1::Latency message;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    v1::Latency::Bucket& bucket = *message.add_buckets();
    bucket.set_up_to(i < LatencyHistogram::kBounds.size()
                         ? LatencyHistogram::kBounds[i]
                         : std::numeric_limits<double>::infinity());
    bucket.set_count(histogram.counts()[i]);
  }
  message.set_sum_seconds(absl::ToDoubleSeconds(histogram.sum()));
  return message;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsSocket>> MetricsSocket::Listen(
    const std::string& path, std::function<v1::Metrics()> read) {
  POSTERN_ASSIGN_OR_RETURN(LocalListener listener, LocalListener::ListenForAll(path));
  return std::unique_ptr<MetricsSocket>(new MetricsSocket(std::move(listener), std::move(read)));
}

void MetricsSocket::Serve() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    const absl::StatusOr<Accepted> accepted = AcceptOne(fd());
    if (absl::IsResourceExhausted(accepted.status())) spare_.TurnAwayOne(fd());
    if (!accepted.ok()) return;
    const std::string& message = Message();
    // It is far smaller than a socket's buffer; whoever has gone misses it.
    [[maybe_unused]] const ssize_t sent =
        send(accepted->fd.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

const std::string& MetricsSocket::Message() {
  const auto now = std::chrono::steady_clock::now();
  if (!read_at_ || now - *read_at_ >= kFresh) {
    message_ = read_().SerializeAsString();
    read_at_ = now;
  }
  return message_;
}

v1::Metrics MetricsOf(Gatekeeper& gatekeeper, const std::vector<AnsweredCalls>& answered) {
  v1::Metrics metrics;
  // Without the kernel's counters where they cannot be read.
  const absl::StatusOr<GateStatus> read = gatekeeper.Status();
  const GateStatus status = read.ok() ? *read : gatekeeper.KnownStatus();
  *metrics.mutable_started() = ToProto(status.started);
  metrics.set_live_grants(status.live_grants);
  metrics.set_withheld_grants(status.withheld_grants);
  metrics.set_enforcing(status.enforced);
  metrics.set_locked_down(status.standing.lockdown.has_value());
  if (read.ok()) {
    metrics.set_denied_packets(status.dropped.packets);
    metrics.set_denied_bytes(status.dropped.bytes);
  }
  metrics.set_repairs(status.repairs.count);
  metrics.set_warnings(status.warnings.size());
  *metrics.mutable_commit() = ToProto(gatekeeper.commit_latency());
  *metrics.mutable_apply() = ToProto(gatekeeper.apply_latency());
  for (const AnsweredCalls& calls : answered) {
    v1::AnsweredCalls& message = *metrics.add_calls();
    message.set_method(std::string(calls.method));
    message.set_code(absl::StatusCodeToString(calls.code));
    message.set_count(calls.count);
  }
  return metrics;
}

}  // namespace postern
