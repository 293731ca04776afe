#include "agent/link/told_usage.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

v1::GrantReport Used(const std::string& id, uint64_t packets) {
  v1::GrantReport report;
  report.set_id(id);
  report.mutable_usage()->set_packets(packets);
  return report;
}

TEST(ToldUsageTest, WhatIsKnownIsNotToldAgain) {
  ToldUsage told;
  const auto first = told.News({Used("a", 3), Used("b", 0)});
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].id(), "a");
  EXPECT_TRUE(told.News({Used("a", 3), Used("b", 0)}).empty());
  const auto second = told.News({Used("a", 3), Used("b", 1)});
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].id(), "b");
  EXPECT_EQ(second[0].usage().packets(), 1u);
}

TEST(ToldUsageTest, WhatLivesNoMoreIsForgotten) {
  ToldUsage told;
  EXPECT_EQ(told.News({Used("a", 3)}).size(), 1u);
  EXPECT_TRUE(told.News({}).empty());
  EXPECT_EQ(told.News({Used("a", 3)}).size(), 1u);
}

}  // namespace
}  // namespace postern
