// What a fleet costs its controller, and how long people wait for it.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/status.h"
#include "tests/bench/figures.h"
#include "tests/bench/fleet/agents.h"
#include "tests/bench/fleet/fleet.h"
#include "tests/bench/fleet/history.h"
#include "tests/bench/supervise.h"
#include "tests/support/postgres.h"

namespace postern::bench {
namespace {

constexpr char kHelp[] =
    "Measures postern-controller with a fleet of simulated agents, which attach by real streams\n"
    "over mutual TLS and apply at once whatever is wanted.\n\n"
    "Needs root, or user namespaces. It works in a network namespace of its own and leaves "
    "nothing\n"
    "behind.";

struct Options {
  size_t agents = 2000;
  size_t requests = 300;
  size_t past = 1'000'000;
  int days = 90;
  size_t views = 20;
  double settle = 5;
  std::vector<std::string> stores = {"sqlite", "postgres"};
  bool tsv = false;
  bool smoke = false;
  std::string controller = CONTROLLER_PATH;
  std::string directory = "/var/tmp";
};

void ShortenToNothing(Options& options) {
  options.agents = 20;
  options.requests = 3;
  options.past = 500;
  options.views = 2;
  options.settle = 0.1;
}

constexpr absl::Duration kPatience = absl::Minutes(5);
// So many that none of them comes up against the limit of the rate of calls.
constexpr size_t kPeople = 32;

// In KiB, of /proc/PID/smaps_rollup.
absl::StatusOr<double> MemoryOf(pid_t pid, absl::string_view what) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    double kib = 0;
    if (words.size() > 1 && words[0] == absl::StrCat(what, ":") &&
        absl::SimpleAtod(words[1], &kib)) {
      return kib;
    }
  }
  return absl::NotFoundError(absl::StrCat("smaps_rollup has no ", what));
}

// What the process has had of the CPU, in seconds (proc_pid_stat(5): utime, stime).
absl::StatusOr<double> CpuOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(file, line);
  // The name, in brackets, may have blanks.
  const std::vector<std::string> words =
      absl::StrSplit(line.substr(line.rfind(')') + 1), ' ', absl::SkipEmpty());
  double user = 0;
  double system = 0;
  if (words.size() < 13 || !absl::SimpleAtod(words[11], &user) ||
      !absl::SimpleAtod(words[12], &system)) {
    return absl::NotFoundError(absl::StrCat("process ", pid, " has no times"));
  }
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

class Bench {
 public:
  Bench(const Options& options, Fleet& fleet, Figures& figures)
      : options_(options), fleet_(fleet), figures_(figures) {}

  absl::Status Measure() {
    POSTERN_RETURN_IF_ERROR(fleet_.StartController());
    POSTERN_RETURN_IF_ERROR(Enroll());
    POSTERN_RETURN_IF_ERROR(fleet_.MakePeople(kPeople));
    POSTERN_RETURN_IF_ERROR(fleet_.PutPolicies(options_.agents));
    // Without what enrolling has left in its heap.
    POSTERN_RETURN_IF_ERROR(fleet_.StopController());
    POSTERN_RETURN_IF_ERROR(fleet_.StartController());
    POSTERN_RETURN_IF_ERROR(MeasureAgents());
    POSTERN_RETURN_IF_ERROR(fleet_.StopController());
    Say("filling the store");
    POSTERN_RETURN_IF_ERROR(FillHistory(fleet_.options(), options_.agents, options_.past,
                                        absl::Hours(24) * options_.days));
    POSTERN_RETURN_IF_ERROR(fleet_.StartController());
    POSTERN_RETURN_IF_ERROR(MeasureViews());
    Agents agents(kFleetAddress, identities_);
    agents.Attach(0, 1);
    POSTERN_RETURN_IF_ERROR(agents.AwaitInSync(1, kPatience));
    POSTERN_RETURN_IF_ERROR(MeasureRequests("1 agent, past requests"));
    return absl::OkStatus();
  }

 private:
  static void Say(const char* what) { std::fprintf(stderr, "%s\n", what); }

  absl::Status Enroll() {
    Say("enrolling");
    const absl::Time begin = absl::Now();
    POSTERN_ASSIGN_OR_RETURN(identities_, fleet_.Enroll(options_.agents));
    figures_.Add("enrolments per second",
                 static_cast<double>(options_.agents) / absl::ToDoubleSeconds(absl::Now() - begin),
                 "1/s");
    return absl::OkStatus();
  }

  absl::Status MeasureAgents() {
    Say("attaching");
    Agents agents(kFleetAddress, identities_);
    agents.Attach(0, 1);
    POSTERN_RETURN_IF_ERROR(agents.AwaitInSync(1, kPatience));
    POSTERN_RETURN_IF_ERROR(MeasureRequests("1 agent"));
    POSTERN_ASSIGN_OR_RETURN(const double before, Memory());
    POSTERN_ASSIGN_OR_RETURN(const double cpu_before, CpuOf(fleet_.controller().pid()));
    const absl::Time begin = absl::Now();
    agents.Attach(1, options_.agents);
    POSTERN_RETURN_IF_ERROR(agents.AwaitInSync(options_.agents, kPatience));
    figures_.Add("all agents attach", absl::ToDoubleSeconds(absl::Now() - begin), "s");
    Settle();
    POSTERN_ASSIGN_OR_RETURN(const double cpu_after, CpuOf(fleet_.controller().pid()));
    POSTERN_ASSIGN_OR_RETURN(const double after, Memory());
    figures_.Add("controller's CPU per attach",
                 1000 * (cpu_after - cpu_before) / static_cast<double>(options_.agents - 1), "ms");
    figures_.Add("resident, 1 agent", before / 1024, "MiB");
    figures_.Add("resident, all agents", after / 1024, "MiB");
    figures_.Add("resident per agent", (after - before) / static_cast<double>(options_.agents - 1),
                 "KiB");
    POSTERN_RETURN_IF_ERROR(MeasureRequests("all agents"));
    return MeasureRestart(agents);
  }

  absl::StatusOr<double> Memory() const { return MemoryOf(fleet_.controller().pid(), "Rss"); }

  void Settle() const { absl::SleepFor(absl::Seconds(options_.settle)); }

  // From the call until the request is told to be Initiated, again and again for the
  // first VM.
  absl::Status MeasureRequests(const std::string& with) {
    Say("measuring requests");
    Samples answered;
    Samples applied;
    for (size_t i = 0; i < options_.requests; ++i) {
      RestClient& person = *fleet_.people()[i % kPeople];
      // Not counted: the connection, and the person's place in the limits.
      POSTERN_RETURN_IF_ERROR(person.Call("GET", "/postern/v1/health").status());
      const int waits = person.waits();
      const absl::Time begin = absl::Now();
      POSTERN_ASSIGN_OR_RETURN(
          const Json request,
          person.CallJson(
              "POST", Azure(absl::StrCat(PolicyPath(0), "/initiate")),
              {{"virtualMachines",
                {{{"id", VmIdOf(VmName(0))}, {"ports", {{{"number", 22}, {"duration", "PT1H"}}}}}}},
               {"justification", "deploy 142"}}));
      const absl::Duration answer = absl::Now() - begin;
      const std::string path =
          absl::StrCat("/postern/v1/requests/", request["postern"].value("id", ""));
      POSTERN_RETURN_IF_ERROR(AwaitInitiated(person, path));
      if (person.waits() == waits) {
        answered.Add(Milliseconds(answer));
        applied.Add(Milliseconds(absl::Now() - begin));
      }
      POSTERN_RETURN_IF_ERROR(person.Call("POST", absl::StrCat(path, "/end")).status());
    }
    figures_.Add(absl::StrCat(with, ": answered, p50"), answered.Quantile(0.5), "ms");
    figures_.Add(absl::StrCat(with, ": answered, p99"), answered.Quantile(0.99), "ms");
    figures_.Add(absl::StrCat(with, ": Initiated, p50"), applied.Quantile(0.5), "ms");
    figures_.Add(absl::StrCat(with, ": Initiated, p99"), applied.Quantile(0.99), "ms");
    return absl::OkStatus();
  }

  static absl::Status AwaitInitiated(RestClient& person, const std::string& path) {
    const absl::Time end = absl::Now() + kPatience;
    while (true) {
      POSTERN_ASSIGN_OR_RETURN(const Json request, person.CallJson("GET", path));
      const std::string status = request["ports"][0].value("status", "");
      if (status == "Initiated") return absl::OkStatus();
      if (status != "Initiating" || absl::Now() > end) {
        return absl::InternalError(absl::StrCat("a request is ", request.dump()));
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  absl::Status MeasureRestart(Agents& agents) {
    Say("measuring a restart");
    const absl::Time begin = absl::Now();
    POSTERN_RETURN_IF_ERROR(fleet_.StopController());
    const absl::Time stopped = absl::Now();
    POSTERN_RETURN_IF_ERROR(agents.AwaitInSync(0, kPatience));
    POSTERN_RETURN_IF_ERROR(fleet_.StartController());
    const absl::Time serves = absl::Now();
    POSTERN_RETURN_IF_ERROR(agents.AwaitInSync(options_.agents, kPatience));
    figures_.Add("restart: stopped", absl::ToDoubleSeconds(stopped - begin), "s");
    figures_.Add("restart: serves", absl::ToDoubleSeconds(serves - begin), "s");
    figures_.Add("restart: all in sync", absl::ToDoubleSeconds(absl::Now() - begin), "s");
    return absl::OkStatus();
  }

  // `call` is told which time it is.
  absl::Status MeasureView(const std::string& name,
                           const std::function<absl::Status(RestClient&, size_t)>& call) {
    Samples samples;
    for (size_t i = 0; i < options_.views; ++i) {
      RestClient& person = *fleet_.people()[i % kPeople];
      POSTERN_RETURN_IF_ERROR(person.Call("GET", "/postern/v1/health").status());
      const absl::Time begin = absl::Now();
      POSTERN_RETURN_IF_ERROR(call(person, i));
      samples.Add(Milliseconds(absl::Now() - begin));
    }
    figures_.Add(absl::StrCat(name, ", p50"), samples.Quantile(0.5), "ms");
    figures_.Add(absl::StrCat(name, ", max"), samples.Max(), "ms");
    return absl::OkStatus();
  }

  absl::Status MeasureGet(const std::string& name, const std::string& target) {
    return MeasureView(name, [&target](RestClient& person, size_t) {
      return person.Call("GET", target).status();
    });
  }

  static absl::Status GetAllVms(RestClient& person) {
    std::string page;
    do {
      POSTERN_ASSIGN_OR_RETURN(
          const Json answer,
          person.CallJson("GET", absl::StrCat("/postern/v1/vms?page_token=", page)));
      page = answer.value("next_page_token", "");
    } while (!page.empty());
    return absl::OkStatus();
  }

  absl::Status MeasureViews() {
    Say("measuring views");
    POSTERN_RETURN_IF_ERROR(MeasureView("one VM's seven days", [&](RestClient& person, size_t i) {
      const std::string vm = VmIdOf(VmName(i * 37 % options_.agents));
      return person.Call("GET", absl::StrCat("/postern/v1/vm?id=", vm)).status();
    }));
    POSTERN_RETURN_IF_ERROR(MeasureView(
        "all VMs' seven days", [](RestClient& person, size_t) { return GetAllVms(person); }));
    POSTERN_RETURN_IF_ERROR(MeasureGet("a policy with its requests", Azure(PolicyPath(0))));
    POSTERN_RETURN_IF_ERROR(MeasureGet(
        "all policies with theirs", Azure(absl::StrCat(kGroupId, "/providers/Microsoft.Security/",
                                                       "jitNetworkAccessPolicies"))));
    POSTERN_RETURN_IF_ERROR(MeasureGet("live requests", "/postern/v1/requests"));
    POSTERN_RETURN_IF_ERROR(
        MeasureGet("a page of all requests", "/postern/v1/requests?include_ended=true"));
    POSTERN_RETURN_IF_ERROR(
        MeasureGet("all requests of a group without any",
                   "/postern/v1/requests?include_ended=true&resource_group=none"));
    POSTERN_RETURN_IF_ERROR(MeasureView("own requests of nobody", [&](RestClient&, size_t) {
      return fleet_.nobody().Call("GET", "/postern/v1/requests?include_ended=true").status();
    }));
    return MeasureView("a policy is put", [&](RestClient&, size_t) {
      return fleet_.PutPolicy(0, std::min(kVmsOfPolicy, options_.agents));
    });
  }

  const Options& options_;
  Fleet& fleet_;
  Figures& figures_;
  std::vector<AgentIdentity> identities_;
};

absl::Status MeasureStore(const Options& options, const std::string& store,
                          const std::string& directory, Figures& figures) {
  std::unique_ptr<PostgresServer> postgres;
  FleetOptions fleet_options{
      .controller = options.controller, .directory = directory, .postgres = ""};
  if (store == "postgres") {
    POSTERN_ASSIGN_OR_RETURN(postgres, PostgresServer::Start({.durable = true}));
    POSTERN_ASSIGN_OR_RETURN(fleet_options.postgres, postgres->NewDatabase());
  }
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Fleet> fleet,
                           Fleet::Create(std::move(fleet_options)));
  return Bench(options, *fleet, figures).Measure();
}

int Measure(const Options& options, const std::string& store, const std::string& directory) {
  Figures figures;
  const absl::Status status = MeasureStore(options, store, directory, figures);
  const std::string text = options.tsv ? figures.Tsv() : figures.Table();
  std::printf("%s\n%s", store.c_str(), text.c_str());
  std::fflush(stdout);
  if (status.ok()) return 0;
  std::fprintf(stderr, "fleet: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  postern::bench::Options options;
  CLI::App app(postern::bench::kHelp);
  app.add_option("--agents", options.agents, "Agents, each with a VM of its own")
      ->check(CLI::Range(2, 50'000))
      ->capture_default_str();
  app.add_option("--requests", options.requests, "Requests measured, each time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--past", options.past, "Past requests in the store")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  app.add_option("--days", options.days, "The days that they are spread over")
      ->check(CLI::Range(1, 3650))
      ->capture_default_str();
  app.add_option("--views", options.views, "Times that each view is asked for")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--store", options.stores, "sqlite, postgres (Debian's postgresql-15)")
      ->check(CLI::IsMember({"sqlite", "postgres"}))
      ->capture_default_str();
  app.add_flag("--smoke", options.smoke, "As little as will do, to see that it runs");
  app.add_flag("--tsv", options.tsv, "Print name<TAB>value<TAB>unit, one line a figure");
  app.add_option("--controller", options.controller, "The controller to measure")
      ->check(CLI::ExistingFile)
      ->capture_default_str();
  app.add_option("--dir", options.directory, "Where the store is kept; not a tmpfs")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (options.smoke) postern::bench::ShortenToNothing(options);
  int result = 0;
  for (const std::string& store : options.stores) {
    result |= postern::bench::Supervise(options.directory, [&](const std::string& directory) {
      return postern::bench::Measure(options, store, directory);
    });
  }
  return result;
}
