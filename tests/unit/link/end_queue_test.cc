#include "agent/link/end_queue.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace postern {
namespace {

const BootTime kNow(absl::Seconds(1000));

TEST(EndQueueTest, WhatComesFirstIsToldFirst) {
  EndQueue queue;
  EXPECT_EQ(queue.due(), BootTime(absl::InfiniteDuration()));
  queue.Add("a");
  queue.Add("b");
  EXPECT_LE(queue.due(), kNow);
  EXPECT_EQ(queue.Next(), "a");
  queue.Remove("a");
  EXPECT_EQ(queue.Next(), "b");
  queue.Remove("b");
  EXPECT_EQ(queue.due(), BootTime(absl::InfiniteDuration()));
}

TEST(EndQueueTest, WhatCannotBeReadWaitsBehindTheOthers) {
  EndQueue queue;
  queue.Add("a");
  queue.Add("b");
  queue.Defer("a", kNow);
  EXPECT_EQ(queue.Next(), "b");
  EXPECT_EQ(queue.due(), kNow + absl::Seconds(1));
  queue.Defer("b", kNow);
  EXPECT_EQ(queue.Next(), "a");
  EXPECT_EQ(queue.due(), kNow + absl::Seconds(2));
  for (int i = 0; i < 20; ++i) queue.Defer(queue.Next(), kNow);
  EXPECT_EQ(queue.due(), kNow + absl::Minutes(2));
  queue.Remove("a");
  queue.Defer("b", kNow);
  EXPECT_EQ(queue.due(), kNow + absl::Seconds(1));
}

TEST(EndQueueTest, NewerOnesPushTheOldestOut) {
  EndQueue queue;
  for (size_t i = 0; i <= EndQueue::kCapacity; ++i) queue.Add(absl::StrCat(i));
  EXPECT_EQ(queue.Next(), "1");
  // It was being told when it was pushed out.
  queue.Remove("0");
  EXPECT_EQ(queue.Next(), "1");
}

}  // namespace
}  // namespace postern
