// What a grant costs, against what it must cost at the least.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <set>
#include <string>

#include "tests/bench/figures.h"
#include "tests/bench/parts.h"
#include "tests/bench/supervise.h"
#include "tests/bench/world.h"

namespace postern::bench {
namespace {

constexpr char kHelp[] =
    "Measures posternd against its floor: a warm mutual TLS echo, one raw netlink commit of one\n"
    "element and one durable SQLite insert, in turns with CreateGrant.\n\n"
    "Needs root. It works in network namespaces of its own and leaves nothing behind.";

struct Options {
  Plan plan;
  std::set<std::string> only;
  bool tsv = false;
  bool quick = false;
  bool smoke = false;
  std::string posternd = POSTERND_PATH;
  std::string directory = "/var/tmp";
};

void Shorten(Plan& plan) {
  plan.calls = 500;
  plan.slices = 3;
  plan.slice = absl::Seconds(1);
  plan.ends = 50;
  plan.idle = absl::Seconds(10);
}

void ShortenToNothing(Plan& plan) {
  plan.calls = 5;
  plan.live_grants = {0, 10};
  plan.slices = 1;
  plan.slice = absl::Milliseconds(100);
  plan.ends = 4;
  plan.settle = absl::Milliseconds(100);
  plan.idle = absl::Seconds(1);
}

struct Part {
  const char* name;
  absl::Status (*measure)(World& world, const Plan& plan, Figures& figures);
};

constexpr Part kParts[] = {
    {"latency", MeasureLatency},
    {"throughput", MeasureThroughput},
    {"expiry", MeasureExpiry},
    {"idle", MeasureIdle},
};

int Measure(const Options& options, const std::string& directory) {
  absl::StatusOr<std::unique_ptr<World>> world = World::Create(directory, options.posternd);
  Figures figures;
  absl::Status status = world.status();
  for (const Part& part : kParts) {
    if (!status.ok()) break;
    if (!options.only.empty() && !options.only.contains(part.name)) continue;
    std::fprintf(stderr, "measuring %s\n", part.name);
    status = part.measure(**world, options.plan, figures);
  }
  const std::string text = options.tsv ? figures.Tsv() : figures.Table();
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  if (status.ok()) return 0;
  std::fprintf(stderr, "grant: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  using postern::bench::Options;
  Options options;
  CLI::App app(postern::bench::kHelp);
  std::vector<std::string> only;
  app.add_option("--only", only, "Parts to measure: latency, throughput, expiry, idle")
      ->check(CLI::IsMember({"latency", "throughput", "expiry", "idle"}));
  app.add_flag("--quick", options.quick, "Fewer rounds, for a first look");
  app.add_flag("--smoke", options.smoke, "As few rounds as will do, to see that it runs");
  int calls = 0;
  app.add_option("--calls", calls, "Rounds of the latency part, at each number of live grants")
      ->check(CLI::PositiveNumber);
  std::vector<int> live;
  app.add_option("--live", live, "Numbers of live grants for the latency part")
      ->check(CLI::Range(0, 500'000));
  app.add_flag("--tsv", options.tsv, "Print name<TAB>value<TAB>unit, one line a figure");
  app.add_option("--posternd", options.posternd, "The daemon to measure")
      ->check(CLI::ExistingFile)
      ->capture_default_str();
  app.add_option("--dir", options.directory, "Where ledgers are kept; not a tmpfs")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  options.only = {only.begin(), only.end()};
  if (options.quick) postern::bench::Shorten(options.plan);
  if (options.smoke) postern::bench::ShortenToNothing(options.plan);
  if (calls > 0) options.plan.calls = calls;
  if (!live.empty()) options.plan.live_grants = live;
  return postern::bench::Supervise(options.directory, [&options](const std::string& directory) {
    return postern::bench::Measure(options, directory);
  });
}
