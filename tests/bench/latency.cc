#include <array>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status.h"
#include "tests/bench/floor.h"
#include "tests/bench/parts.h"

namespace postern::bench {
namespace {

constexpr double kMostP50OverFloor = 1.3;
constexpr double kMostP99OverFloor = 2;
constexpr int kWarmUp = 200;
constexpr int kRoundsPerRevoke = 10;

// Of one kind of step, in microseconds.
struct Steps {
  Samples echo;
  Samples commit;
  Samples insert;
  Samples floor;
  Samples grant;
};

class Round {
 public:
  Round(World& world, int live_grants) : world_(world), live_grants_(live_grants) {}

  absl::Status Prepare() {
    const std::string name = absl::StrCat("latency-", live_grants_);
    POSTERN_ASSIGN_OR_RETURN(agent_, world_.StartAgent(world_.agent(), name, live_grants_));
    POSTERN_ASSIGN_OR_RETURN(echo_, world_.StartEcho());
    POSTERN_ASSIGN_OR_RETURN(to_agent_, world_.Connect(kAgentAddress));
    POSTERN_ASSIGN_OR_RETURN(to_echo_, world_.Connect(kFloorAddress));
    POSTERN_ASSIGN_OR_RETURN(commit_,
                             RawCommit::Open(world_.floor(), static_cast<uint32_t>(live_grants_)));
    POSTERN_ASSIGN_OR_RETURN(insert_, DurableInsert::Open(world_.Path(name + "/floor.db")));
    return absl::OkStatus();
  }

  // Each step once; number `i` decides which comes first. What a step added is
  // taken away, untimed, so that the number of live grants stays.
  absl::Status Run(int i, Steps& steps) {
    const v1::CreateGrantRequest request = NewGrant();
    // What the agent must keep, more or less.
    const std::string row = request.SerializeAsString();
    std::array<double, 4> took{};
    const std::array<std::function<absl::Status()>, 4> actions = {
        [&] { return to_echo_->Create(request).status(); },
        [&] { return commit_->Add(); },
        [&] { return insert_->Insert(row); },
        [&] { return to_agent_->Create(request).status(); },
    };
    for (size_t n = 0; n < actions.size(); ++n) {
      const size_t step = (n + static_cast<size_t>(i)) % actions.size();
      const int64_t before = absl::GetCurrentTimeNanos();
      POSTERN_RETURN_IF_ERROR(actions[step]());
      took[step] = static_cast<double>(absl::GetCurrentTimeNanos() - before) / 1000;
    }
    steps.echo.Add(took[0]);
    steps.commit.Add(took[1]);
    steps.insert.Add(took[2]);
    steps.floor.Add(took[0] + took[1] + took[2]);
    steps.grant.Add(took[3]);
    POSTERN_RETURN_IF_ERROR(commit_->Remove());
    // The agent is not to be busy with sessions when the next round begins.
    return to_agent_->Revoke(request.id(), /*keep_sessions=*/true);
  }

  // A grant that waits for the sessions of another, just revoked, to be ended.
  absl::Status RunAfterRevoke(Samples& grants) {
    const v1::CreateGrantRequest first = NewGrant();
    const v1::CreateGrantRequest second = NewGrant();
    POSTERN_RETURN_IF_ERROR(to_agent_->Create(first).status());
    POSTERN_RETURN_IF_ERROR(to_agent_->Revoke(first.id(), /*keep_sessions=*/false));
    const int64_t before = absl::GetCurrentTimeNanos();
    POSTERN_RETURN_IF_ERROR(to_agent_->Create(second).status());
    grants.Add(static_cast<double>(absl::GetCurrentTimeNanos() - before) / 1000);
    return to_agent_->Revoke(second.id(), /*keep_sessions=*/true);
  }

 private:
  World& world_;
  const int live_grants_;
  std::unique_ptr<Process> agent_;
  std::unique_ptr<Process> echo_;
  std::unique_ptr<Client> to_agent_;
  std::unique_ptr<Client> to_echo_;
  std::unique_ptr<RawCommit> commit_;
  std::unique_ptr<DurableInsert> insert_;
};

}  // namespace

absl::Status MeasureLatency(World& world, const Plan& plan, Figures& figures) {
  for (const int live : plan.live_grants) {
    Round round(world, live);
    POSTERN_RETURN_IF_ERROR(round.Prepare());
    Steps warm_up;
    for (int i = 0; i < kWarmUp; ++i) POSTERN_RETURN_IF_ERROR(round.Run(i, warm_up));
    Steps steps;
    for (int i = 0; i < plan.calls; ++i) POSTERN_RETURN_IF_ERROR(round.Run(i, steps));
    Samples after_revoke;
    for (int i = 0; i < plan.calls / kRoundsPerRevoke; ++i) {
      POSTERN_RETURN_IF_ERROR(round.RunAfterRevoke(after_revoke));
    }

    const auto add = [&](const char* name, const Samples& samples, double q) {
      figures.Add(absl::StrCat(name, "_", live), samples.Quantile(q), "us");
    };
    figures.Add(absl::StrCat("grant_p50_over_floor_", live),
                steps.grant.Quantile(0.5) / steps.floor.Quantile(0.5), "ratio",
                Target{kMostP50OverFloor});
    figures.Add(absl::StrCat("grant_p99_over_floor_", live),
                steps.grant.Quantile(0.99) / steps.floor.Quantile(0.99), "ratio",
                Target{kMostP99OverFloor});
    add("grant_p50", steps.grant, 0.5);
    add("grant_p99", steps.grant, 0.99);
    add("grant_after_revoke_p50", after_revoke, 0.5);
    add("floor_p50", steps.floor, 0.5);
    add("floor_p99", steps.floor, 0.99);
    add("echo_p50", steps.echo, 0.5);
    add("echo_p99", steps.echo, 0.99);
    add("netlink_commit_p50", steps.commit, 0.5);
    add("netlink_commit_p99", steps.commit, 0.99);
    add("sqlite_insert_p50", steps.insert, 0.5);
    add("sqlite_insert_p99", steps.insert, 0.99);
  }
  return absl::OkStatus();
}

}  // namespace postern::bench
