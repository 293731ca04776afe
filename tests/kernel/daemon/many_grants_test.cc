// As many grants as may live at all, which end at once.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/kernel/daemon/load_test.h"

namespace postern {
namespace {

constexpr int kMany = kSanitized ? 15'000 : 100'000;
// These tell how long it takes to make the others, and live on.
constexpr int kFirst = kMany / 50;
constexpr int kClients = 8;
constexpr uint64_t kMostKibPerGrant = 4;
constexpr absl::Duration kRecordedWithin = absl::Minutes(2);

std::string SourceOf(int grant) {
  return absl::StrFormat("10.%d.%d.%d", 100 + grant / 62'500, grant / 250 % 250, grant % 250 + 1);
}

class ManyGrantsTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    host_->Configure("limits: {max_live_grants: 100000}\n");
    Start();
  }

  // Those with the numbers from `from` up to `to`, until `end`.
  void Make(int from, int to, absl::Time end) {
    std::vector<std::thread> threads;
    for (int client = 0; client < kClients; ++client) {
      threads.emplace_back([from = from + client, to, end, stub = host_->Local()] {
        for (int grant = from; grant < to; grant += kClients) {
          v1::CreateGrantRequest request = NewGrant(SourceOf(grant), absl::Hours(1));
          request.mutable_not_after()->set_seconds(absl::ToUnixSeconds(end));
          const Answer made = Create(*stub, request);
          ASSERT_TRUE(made.status.ok()) << made.status.error_message();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  // Asks again and again until no more than `live` grants are live; how often it was
  // answered with more.
  int AskUntilLive(uint64_t live, absl::Duration& longest) {
    const auto stub = host_->Local();
    const absl::Time deadline = absl::Now() + kRecordedWithin;
    for (int answers = 0; absl::Now() < deadline; ++answers) {
      const absl::Time began = absl::Now();
      const absl::StatusOr<v1::GetStatusResponse> status = GetStatus(*stub);
      longest = std::max(longest, absl::Now() - began);
      EXPECT_OK(status.status());
      if (!status.ok() || status->live_grants() <= live) return answers;
    }
    ADD_FAILURE() << "not all ends are recorded within " << kRecordedWithin;
    return 0;
  }

  size_t RecordedEnds() {
    const absl::StatusOr<std::vector<v1::AuditEvent>> events = ListEvents(*host_->Local());
    EXPECT_OK(events.status());
    if (!events.ok()) return 0;
    return static_cast<size_t>(std::count_if(
        events->begin(), events->end(),
        [](const v1::AuditEvent& event) { return event.kind() == v1::GRANT_EXPIRED; }));
  }
};

TEST_F(ManyGrantsTest, EndTogetherInTimeAndHoldNobodyUp) {
  const absl::StatusOr<uint64_t> before = host_->daemon().RssKib();
  const absl::Time began = absl::Now();
  Make(0, kFirst, began + absl::Hours(1));
  const absl::Duration expected = (absl::Now() - began) * (kMany / kFirst);
  const absl::Time end =
      absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now() + 2 * expected) + 10);
  Make(kFirst, kMany, end);
  ASSERT_LT(absl::Now(), end) << "making them has taken too long";
  const std::string source = SourceOf(kMany - 1);
  EXPECT_TRUE(host_->Admits(source, 22));

  SleepUntil(end + absl::Milliseconds(30));
  EXPECT_FALSE(host_->Admits(source, 22));
  absl::Duration longest;
  const int answers = AskUntilLive(kFirst, longest);
  // Between the parts in which the ends are recorded.
  EXPECT_GE(answers, kMany / 20'000);
  std::printf("%d ends are recorded %s after they came; meanwhile %d calls took %s at most\n",
              kMany - kFirst, absl::FormatDuration(absl::Now() - end).c_str(), answers,
              absl::FormatDuration(longest).c_str());

  EXPECT_EQ(RecordedEnds(), static_cast<size_t>(kMany - kFirst));
  EXPECT_TRUE(host_->Admits(SourceOf(0), 22));
  ExpectNoDifference();
  if (!kSanitized) {
    EXPECT_LT(*host_->daemon().PeakRssKib(), *before + kMostKibPerGrant * kMany);
  }
}

}  // namespace
}  // namespace postern
