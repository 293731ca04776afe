// The daemon is killed at random moments, again and again, while clients ask for
// grants, extend, move and revoke them, and packets try the gate all along.

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/chaos/clients.h"
#include "tests/kernel/chaos/history.h"
#include "tests/kernel/chaos/probes.h"
#include "tests/kernel/daemon/host.h"

namespace postern::chaos {
namespace {

int kills = 500;
uint64_t seed = std::random_device{}();

constexpr size_t kSlots = 80;
// From the first answer of a daemon to its death.
constexpr int64_t kMostLifeUs = 250'000;
// One in so many dies while it starts.
constexpr uint64_t kOneInDiesYoung = 5;
constexpr int64_t kMostYoungLifeUs = 60'000;
// What is about to end may be gone from the list already.
constexpr absl::Duration kAboutToEnd = absl::Milliseconds(300);

class Chaos : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<DaemonHost>> host = DaemonHost::Create();
    ASSERT_EQ(host.status(), absl::OkStatus());
    host_ = *std::move(host);
    StartDaemon();
  }

  absl::Duration UpTo(int64_t microseconds) {
    return absl::Microseconds(
        static_cast<int64_t>(random_() % static_cast<uint64_t>(microseconds)));
  }

  // Until it answers a question.
  void StartDaemon() {
    const absl::Time began = absl::Now();
    ASSERT_EQ(host_->Start(), absl::OkStatus());
    const absl::StatusOr<v1::GetStatusResponse> status = GetStatus(*host_->Local());
    ASSERT_EQ(status.status(), absl::OkStatus()) << host_->daemon().Log();
    restarts_.push_back(absl::Now() - began);
  }

  // Some daemons die before they answer.
  void Restart() {
    while (kills_ < kills && random_() % kOneInDiesYoung == 0) {
      ASSERT_EQ(host_->Launch(), absl::OkStatus());
      absl::SleepFor(UpTo(kMostYoungLifeUs));
      Kill();
    }
    StartDaemon();
  }

  void Kill() {
    EXPECT_EQ(host_->daemon().Alive(), absl::OkStatus());
    host_->daemon().Kill();
    ++kills_;
  }

  // The clients wait: the daemon, the kernel and what clients were told agree.
  void CompareAll() {
    const auto stub = host_->Local();
    const absl::StatusOr<std::string> difference = Difference(*stub, host_->firewall());
    ASSERT_EQ(difference.status(), absl::OkStatus());
    if (!difference->empty()) {
      ++unequal_;
      ADD_FAILURE() << "kill " << kills_ << ": kernel and ledger differ:\n" << *difference;
    }
    const absl::StatusOr<std::vector<v1::Grant>> grants = ListGrants(*stub);
    ASSERT_EQ(grants.status(), absl::OkStatus());
    std::map<std::string, absl::Time> ends;
    for (const v1::Grant& grant : *grants) ends[grant.id()] = ToTime(grant.end_time());
    history_.Read([&](const std::deque<Story>& stories) {
      for (const Story& story : stories) CompareLive(story, ends);
    });
  }

  void CompareLive(const Story& story, const std::map<std::string, absl::Time>& ends) {
    const auto found = ends.find(story.id);
    if (found != ends.end()) {
      if (story.revoked || story.never) Lose(story, "is live again");
      if (!story.acknowledged || story.pending == Pending::kRevoke) return;
      if (found->second != story.end && found->second != story.end + story.may_be_later) {
        Lose(story, absl::StrCat("ends ", absl::FormatDuration(found->second - story.end),
                                 " after its acknowledged end"));
      }
      return;
    }
    if (!story.acknowledged || story.revoked || story.ended || story.never) return;
    if (story.pending == Pending::kRevoke) return;
    if (story.end > absl::Now() + kAboutToEnd) Lose(story, "is not live any more");
  }

  // Nothing is pending: all that ever was, is recorded, and once.
  void CompareRecords() {
    const auto stub = host_->Local();
    const absl::Time looked = absl::Now();
    const absl::StatusOr<std::vector<v1::AuditEvent>> events = ListEvents(*stub);
    const absl::StatusOr<std::vector<v1::Grant>> grants = ListGrants(*stub, true);
    ASSERT_EQ(events.status(), absl::OkStatus());
    ASSERT_EQ(grants.status(), absl::OkStatus());
    std::map<std::string, v1::Grant> by_id;
    for (const v1::Grant& grant : *grants) by_id[grant.id()] = grant;
    size_t made = 0;
    history_.Read([&](const std::deque<Story>& stories) {
      for (const Story& story : stories) {
        EXPECT_EQ(story.pending, Pending::kNone);
        const auto found = by_id.find(story.id);
        if (story.never) {
          if (found != by_id.end()) Lose(story, "was not found, and is there");
          continue;
        }
        ++made;
        if (found == by_id.end()) {
          Lose(story, "is not recorded");
        } else if (story.revoked != (found->second.state() == v1::REVOKED)) {
          Lose(story, "has another state than was acknowledged");
        } else if (!story.revoked && ToTime(found->second.end_time()) != story.end) {
          Lose(story, "has another end than was acknowledged");
        }
      }
    });
    EXPECT_EQ(by_id.size(), made);
    CompareAudit(*events, by_id, looked);
  }

  void CompareAudit(const std::vector<v1::AuditEvent>& events,
                    const std::map<std::string, v1::Grant>& grants, absl::Time looked) {
    std::set<std::string> begun;
    std::set<std::string> ended;
    uint64_t number = 0;
    for (const v1::AuditEvent& event : events) {
      ASSERT_EQ(event.number(), ++number);
      if (event.kind() == v1::GRANT_CREATED) {
        EXPECT_TRUE(begun.insert(event.grant_id()).second) << event.grant_id();
      } else if (event.kind() == v1::GRANT_EXPIRED || event.kind() == v1::GRANT_REVOKED) {
        EXPECT_TRUE(ended.insert(event.grant_id()).second) << event.grant_id();
      }
    }
    for (const auto& [id, grant] : grants) {
      EXPECT_TRUE(begun.contains(id)) << id;
      // Some end while this looks.
      if (ended.contains(id)) {
        EXPECT_NE(grant.state(), v1::ACTIVE) << id;
      } else if (grant.state() != v1::ACTIVE) {
        EXPECT_GT(ToTime(grant.end_time()), looked - kAboutToEnd) << id;
      }
    }
  }

  void Lose(const Story& story, const std::string& how) {
    ++lost_;
    ADD_FAILURE() << "kill " << kills_ << ": grant " << story.id << " " << how;
  }

  void Summarise(const Verdict& verdict, const ClientCounts& counts) {
    std::sort(restarts_.begin(), restarts_.end());
    std::printf(
        "chaos: %d kills, %zu grants acknowledged, %zu extended, %zu moved, %zu revoked, "
        "%zu calls "
        "unanswered (%zu of them without effect), %zu probes (%zu passed), %zu admitted wrongly, "
        "%zu refused wrongly, %zu lost, %zu unequal, restart p50 %.0f ms, max %.0f ms\n",
        kills_, counts.acknowledged, counts.extended, counts.moved, counts.revoked,
        counts.unanswered, counts.undone, verdict.probes, verdict.passed, verdict.admitted_wrongly,
        verdict.refused_wrongly, lost_, unequal_,
        absl::ToDoubleMilliseconds(restarts_[restarts_.size() / 2]),
        absl::ToDoubleMilliseconds(restarts_.back()));
  }

  std::mt19937_64 random_{seed};
  std::unique_ptr<DaemonHost> host_;
  History history_{kSlots};
  std::vector<absl::Duration> restarts_;
  int kills_ = 0;
  size_t lost_ = 0;
  size_t unequal_ = 0;
};

TEST_F(Chaos, NothingIsLeftOpenAndNothingIsLost) {
  std::printf("chaos: seed %llu\n", static_cast<unsigned long long>(seed));
  absl::StatusOr<std::unique_ptr<Probers>> probers = Probers::Start(*host_, kSlots, random_());
  ASSERT_EQ(probers.status(), absl::OkStatus());
  Clients clients(*host_, history_, kSlots, random_());
  clients.Resume();
  while (kills_ < kills && !HasFatalFailure()) {
    absl::SleepFor(UpTo(kMostLifeUs));
    Kill();
    clients.AwaitAllParked();
    Restart();
    if (HasFatalFailure()) break;
    CompareAll();
    clients.Resume();
  }
  // Long enough for what the last death left unanswered.
  absl::SleepFor(absl::Seconds(1));
  clients.Finish();
  const std::vector<Probe> probes = (*probers)->Stop();
  if (!HasFatalFailure()) CompareRecords();

  EXPECT_EQ((*probers)->overflows(), 0U);
  for (const std::string& complaint : clients.complaints()) ADD_FAILURE() << complaint;
  const Verdict verdict = history_.Judge(probes);
  EXPECT_EQ(verdict.admitted_wrongly, 0U) << verdict.example;
  EXPECT_EQ(verdict.refused_wrongly, 0U) << verdict.example;
  // Otherwise the probes would show nothing.
  EXPECT_GT(verdict.passed, verdict.probes / 20);
  EXPECT_LT(verdict.passed, verdict.probes / 2);
  EXPECT_GT(clients.counts().revoked, static_cast<uint64_t>(kills));
  Summarise(verdict, clients.counts());
}

}  // namespace
}  // namespace postern::chaos

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  CLI::App app("Kills posternd at random moments, and looks what that changes.", "chaos_test");
  app.add_option("--kills", postern::chaos::kills, "How many times")->capture_default_str();
  app.add_option("--seed", postern::chaos::seed, "For the moments and the calls");
  CLI11_PARSE(app, argc, argv);
  return RUN_ALL_TESTS();
}
