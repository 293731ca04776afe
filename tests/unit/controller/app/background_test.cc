#include "controller/app/background.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include "common/clock.h"
#include "common/systemd/event_loop.h"

namespace postern::controller {
namespace {

class BackgroundTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
    absl::StatusOr<std::unique_ptr<Background>> background = Background::Start(*loop_);
    ASSERT_TRUE(background.ok()) << background.status();
    background_ = *std::move(background);
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Background> background_;
};

TEST_F(BackgroundTest, TheLoopLivesWhileWorkWaits) {
  std::promise<void> alarm;
  ASSERT_TRUE(loop_->OnAlarm([&] { alarm.set_value(); }).ok());
  ASSERT_TRUE(loop_->SetAlarm(SystemClock().Read().boot).ok());
  std::thread::id worker;
  std::thread::id after;
  background_->Do(
      [&] {
        alarm.get_future().wait();
        worker = std::this_thread::get_id();
      },
      [&] {
        after = std::this_thread::get_id();
        loop_->Exit();
      });
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_NE(worker, std::this_thread::get_id());
  EXPECT_EQ(after, std::this_thread::get_id());
}

TEST_F(BackgroundTest, WhatComesAfterMayAskForMore) {
  int done = 0;
  const std::function<void()> after = [&] {
    if (done == 3) return loop_->Exit();
    background_->Do([&] { ++done; }, after);
  };
  background_->Do([&] { ++done; }, after);
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_EQ(done, 3);
}

TEST_F(BackgroundTest, ItsEndWaitsForWhatIsBeingDone) {
  std::promise<void> begun;
  std::promise<void> goes_on;
  std::atomic<bool> ended = false;
  background_->Do(
      [&] {
        begun.set_value();
        goes_on.get_future().wait();
        ended = true;
      },
      [] { ADD_FAILURE() << "called after its end"; });
  begun.get_future().wait();
  std::thread other([&] { goes_on.set_value(); });
  background_.reset();
  EXPECT_TRUE(ended);
  other.join();
}

}  // namespace
}  // namespace postern::controller
