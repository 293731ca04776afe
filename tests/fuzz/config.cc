// agent.yaml, by the code that posternd and posternd --check-config run.

#include "agent/config/config.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "agent/config/decode.h"
#include "agent/config/reload.h"
#include "common/config/yaml.h"
#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

constexpr size_t kMostMessage = 2048;
constexpr char kName[] = "agent.yaml";
constexpr char kDirectory[] = "/etc/postern";

// "agent.yaml:LINE:COLUMN: what", within the text.
void CheckError(absl::string_view text, const absl::Status& status) {
  FUZZ_CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  FUZZ_CHECK(IsGoodMessage(status.message(), kMostMessage));
  const std::vector<absl::string_view> parts =
      absl::StrSplit(status.message(), absl::MaxSplits(':', 3));
  uint32_t line = 0;
  uint32_t column = 0;
  FUZZ_CHECK(parts.size() == 4 && parts[0] == kName);
  FUZZ_CHECK(absl::SimpleAtoi(parts[1], &line) && absl::SimpleAtoi(parts[2], &column));
  FUZZ_CHECK(line >= 1 && column >= 1);
  FUZZ_CHECK(line <= static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1);
}

template <typename T>
bool AllDiffer(const std::vector<T>& values) {
  return std::set<T>(values.begin(), values.end()).size() == values.size();
}

void CheckGuard(const Config& config) {
  const std::vector<uint16_t>& guarded = config.limits.guarded_ports;
  FUZZ_CHECK(!guarded.empty() && guarded.size() <= 64 && AllDiffer(guarded));
  FUZZ_CHECK(std::find(guarded.begin(), guarded.end(), 0) == guarded.end());
  for (const uint16_t port : config.limits.allowed_ports) {
    FUZZ_CHECK(std::find(guarded.begin(), guarded.end(), port) != guarded.end());
  }
  for (const Prefix& prefix : config.always_allow) FUZZ_CHECK(prefix.length > 0);
  for (const std::string& name : config.trusted_interfaces) {
    FUZZ_CHECK(!name.empty() && name.size() < 16);
    FUZZ_CHECK(name.find_first_of("*\"/ ") == std::string::npos);
  }
}

void CheckLimits(const Limits& limits) {
  FUZZ_CHECK(limits.max_duration >= absl::Seconds(1));
  FUZZ_CHECK(limits.max_duration <= absl::Hours(365 * 24));
  FUZZ_CHECK(!limits.allowed_sources.empty());
  FUZZ_CHECK(limits.shortest_prefix_ipv4 <= 32 && limits.shortest_prefix_ipv6 <= 128);
  FUZZ_CHECK(limits.max_live_grants >= 1 && limits.max_live_grants <= 1'000'000);
}

void CheckPath(const std::string& path) {
  FUZZ_CHECK(absl::StartsWith(path, "/") && Printable(path) == path);
}

void CheckListen(const ListenConfig& listen, const Limits& limits) {
  const std::vector<uint16_t>& guarded = limits.guarded_ports;
  FUZZ_CHECK(listen.port != 0);
  FUZZ_CHECK(std::find(guarded.begin(), guarded.end(), listen.port) == guarded.end());
  FUZZ_CHECK(!listen.from.empty() && !listen.peers.empty());
  for (const std::string& path : {listen.tls.cert, listen.tls.key, listen.tls.ca}) CheckPath(path);
  for (const PeerRule& peer : listen.peers) FUZZ_CHECK(!peer.san.empty());
}

// A reload that finds the same file changes nothing, and a second one nothing
// more than the first.
void CheckReload(const Config& config) {
  const ReloadPlan same = PlanReload(config, config);
  FUZZ_CHECK(same.config == config && same.applied.empty() && same.needs_restart.empty());
  const ReloadPlan first = PlanReload(Config{}, config);
  const ReloadPlan second = PlanReload(first.config, config);
  FUZZ_CHECK(second.config == first.config && second.applied.empty());
  FUZZ_CHECK(second.needs_restart == first.needs_restart);
  FUZZ_CHECK(first.needs_restart.empty() == (first.config == config));
}

// A drop-in that repeats the file changes nothing.
void CheckOverlay(const std::string& text, const Config& config) {
  const auto source =
      std::make_shared<const Source>(Source{.name = kName, .directory = kDirectory});
  absl::StatusOr<YamlNode> root = ParseYaml(text, source);
  FUZZ_CHECK(root.ok());
  YamlNode over = *root;
  if (over.kind != YamlNode::Kind::kNull) Overlay(std::move(over), *root);
  const absl::StatusOr<Config> overlaid = Decode(*root);
  FUZZ_CHECK(overlaid.ok() && *overlaid == config);
}

void CheckText(const std::string& text) {
  const absl::StatusOr<Config> config = ParseConfig(text, kName, kDirectory);
  const absl::StatusOr<Config> again = ParseConfig(text, kName, kDirectory);
  FUZZ_CHECK(config.status() == again.status());
  if (!config.ok()) {
    CheckError(text, config.status());
    return;
  }
  FUZZ_CHECK(*config == *again);
  CheckGuard(*config);
  CheckLimits(config->limits);
  CheckPath(config->state_dir);
  CheckPath(config->socket);
  FUZZ_CHECK(config->socket.size() < 108);
  if (config->listen.has_value()) CheckListen(*config->listen, config->limits);
  if (config->controller.has_value()) CheckPath(config->controller->ca);
  CheckReload(*config);
  CheckOverlay(text, *config);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::CheckText(std::string(postern::AsText(data, size)));
  return 0;
}
