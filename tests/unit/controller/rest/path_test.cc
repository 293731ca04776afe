#include "controller/rest/path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/text.h"

namespace postern::controller {
namespace {

using testing::ElementsAre;

TEST(ParseTargetTest, SplitsFirstAndDecodesThen) {
  const absl::StatusOr<Target> target = ParseTarget("/a%2Fb/c%20d?x=1&Y=a%26b&z=+");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_THAT(target->segments, ElementsAre("a/b", "c d"));
  EXPECT_EQ(target->Query("x"), "1");
  EXPECT_EQ(target->Query("y"), "a&b");
  EXPECT_EQ(target->Query("z"), " ");
  EXPECT_EQ(target->Query("none"), "");
}

TEST(ParseTargetTest, RefusesWhatIsNoAddress) {
  for (const std::string& text :
       {std::string(""), std::string("a"), std::string("http://x/"), std::string("/a%"),
        std::string("/a%2"), std::string("/a%zz"), std::string("/a%00"), std::string("/a%0a"),
        std::string("/%ff"), std::string("/a?b=%1"), std::string(100, '/')}) {
    EXPECT_EQ(ParseTarget(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(MatchTest, ComparesWithoutCaseAndTakesValuesAsTheyAre) {
  const absl::StatusOr<Target> target = ParseTarget("/Subscriptions/AbC/x/");
  ASSERT_TRUE(target.ok());
  EXPECT_THAT(*Match("/subscriptions/{}/X", target->segments), ElementsAre("AbC"));
  EXPECT_FALSE(Match("/subscriptions/{}", target->segments).has_value());
  EXPECT_FALSE(Match("/subscriptions/{}/y", target->segments).has_value());
}

TEST(PercentEncodedTest, IsTheWayBack) {
  const std::string text = "/a b&c=d%\xc3\xa4";
  const absl::StatusOr<Target> target = ParseTarget("/?v=" + PercentEncoded(text));
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->Query("v"), text);
}

}  // namespace
}  // namespace postern::controller
