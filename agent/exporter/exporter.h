// The agent's metrics in the form that Prometheus scrapes.

#ifndef POSTERN_AGENT_EXPORTER_EXPORTER_H_
#define POSTERN_AGENT_EXPORTER_EXPORTER_H_

#include <postern/v1/metrics.pb.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace postern {

// What the agent says on its metrics socket at `path`. UNAVAILABLE when nobody
// answers there, or not within two seconds.
absl::StatusOr<v1::Metrics> ReadMetrics(const std::string& path);

// No metric has a label for a user, an address or a grant.
std::vector<prometheus::MetricFamily> FamiliesOf(const v1::Metrics& metrics);

// Reads the metrics anew at each scrape. Without an agent, postern_up is 0 and
// the rest is missing. Any thread.
class Exporter final : public prometheus::Collectable {
 public:
  explicit Exporter(std::string path) : path_(std::move(path)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::string path_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_EXPORTER_EXPORTER_H_
