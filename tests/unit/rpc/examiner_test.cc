#include "agent/rpc/examiner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <vector>

namespace postern {
namespace {

using ::testing::SizeIs;

// Counts examinations, each of which lasts until it is let go.
class ExaminerTest : public testing::Test {
 protected:
  std::future<Examiner::Findings> Ask(const Guard& guard = {}) {
    auto answer = std::make_shared<std::promise<Examiner::Findings>>();
    examiner_.Ask(guard, [answer](const Examiner::Findings& f) { answer->set_value(f); });
    return answer->get_future();
  }
  static bool IsReady(const std::future<Examiner::Findings>& answer) {
    return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  std::promise<void> go_;
  std::shared_future<void> gone_{go_.get_future()};
  std::atomic<int> examinations_ = 0;
  Examiner examiner_{[this](const Guard&) {
    ++examinations_;
    gone_.wait();
    return std::vector<Finding>(1);
  }};
};

TEST_F(ExaminerTest, ManyWhoAskTogetherShareOneExamination) {
  std::vector<std::future<Examiner::Findings>> answers;
  for (size_t i = 0; i < Examiner::kMostAskers; ++i) answers.push_back(Ask());
  auto one_too_many = Ask();
  EXPECT_TRUE(absl::IsResourceExhausted(one_too_many.get().status()));
  for (const auto& answer : answers) EXPECT_FALSE(IsReady(answer));
  go_.set_value();
  for (auto& answer : answers) {
    const Examiner::Findings findings = answer.get();
    ASSERT_TRUE(findings.ok()) << findings.status();
    EXPECT_THAT(*findings, SizeIs(1));
  }
  EXPECT_EQ(examinations_, 1);
  EXPECT_TRUE(Ask().get().ok());
  EXPECT_EQ(examinations_, 2);
}

TEST_F(ExaminerTest, NobodyGetsFindingsUnderOtherSettings) {
  auto observing = Ask({.enforce = false, .ports = {22}});
  EXPECT_TRUE(absl::IsResourceExhausted(Ask({.enforce = true, .ports = {22}}).get().status()));
  go_.set_value();
  EXPECT_TRUE(observing.get().ok());
  EXPECT_TRUE(Ask({.enforce = true, .ports = {22}}).get().ok());
}

TEST_F(ExaminerTest, WhoeverStillWaitsAtTheEndIsAnswered) {
  std::atomic<bool> answered = false;
  {
    Examiner examiner([](const Guard&) { return std::vector<Finding>(); });
    examiner.Ask({}, [&](const Examiner::Findings& findings) { answered = findings.ok(); });
  }
  EXPECT_TRUE(answered);
  go_.set_value();
}

}  // namespace
}  // namespace postern
