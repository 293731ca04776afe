#include "common/duration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace postern {
namespace {

using ::testing::HasSubstr;

TEST(ParseDuration, ReadsWhatPeopleWrite) {
  struct Case {
    const char* text;
    absl::Duration duration;
  };
  const Case cases[] = {
      {"90s", absl::Seconds(90)},
      {"15m", absl::Minutes(15)},
      {"3h", absl::Hours(3)},
      {"7d", absl::Hours(7 * 24)},
      {"1h30m", absl::Minutes(90)},
      {"1d2h3m4s", absl::Hours(26) + absl::Minutes(3) + absl::Seconds(4)},
      {"0s", absl::ZeroDuration()},
      {"007m", absl::Minutes(7)},
      {"3650d", absl::Hours(24 * 3650)},
      {"PT3H", absl::Hours(3)},
      {"PT90S", absl::Seconds(90)},
      {"P1D", absl::Hours(24)},
      {"P1DT12H", absl::Hours(36)},
      {"PT1H30M5S", absl::Minutes(90) + absl::Seconds(5)},
      {"PT0S", absl::ZeroDuration()},
      {"P0D", absl::ZeroDuration()},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<absl::Duration> parsed = ParseDuration(c.text);
    ASSERT_TRUE(parsed.ok()) << c.text << ": " << parsed.status();
    EXPECT_EQ(c.duration, *parsed) << c.text;
  }
}

TEST(ParseDuration, RefusesTheRest) {
  const char* cases[] = {
      "",
      " ",
      "3",
      "h",
      "3x",
      "-3h",
      "+3h",
      "3.5h",
      "1,5h",
      "3 h",
      " 3h",
      "3h ",
      "3H",
      "3M",
      "1m1h",
      "1h1h",
      "30m1h",
      "1h30",
      "1w",
      "3ms",
      "inf",
      "nan",
      "P",
      "PT",
      "P3H",
      "PT1D",
      "P1Y",
      "P1M",
      "P2W",
      "P1DT",
      "PT1H1H",
      "PT1S1H",
      "PT0.5H",
      "pt3h",
      "Pt3H",
      "PT3h",
      "P-1D",
      "P1D1D",
      "0x10s",
      "1e3s",
      "٣h",
      "3650d1s",
      "3651d",
      "P3651D",
      "1h\n",
      "99999999999999999999s",
      "9223372036854775807s",
      "18446744073709551617s",
      "PT99999999999999999999H",
      "5124095576030431h",
      "3650d24h",
      "P3650DT24H",
  };
  for (const char* text : cases) {
    const absl::StatusOr<absl::Duration> parsed = ParseDuration(text);
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, parsed.status().code()) << text;
  }
  EXPECT_FALSE(ParseDuration(std::string(100000, '9') + "s").ok());
  EXPECT_FALSE(ParseDuration(std::string("3h\0", 3)).ok());
}

TEST(ParseDuration, SaysHowToMendIt) {
  EXPECT_THAT(ParseDuration("90").status().message(), HasSubstr("\"90\" has no unit"));
  EXPECT_THAT(ParseDuration("soon").status().message(), HasSubstr("write 90s, 15m, 3h"));
  EXPECT_THAT(ParseDuration("4000d").status().message(), HasSubstr("longer than 10 years"));
  EXPECT_THAT(ParseDuration("1\033[2J").status().message(), HasSubstr("\\x1b"));
}

TEST(DurationText, WritesTheShortestFormThatReadsBack) {
  struct Case {
    absl::Duration duration;
    const char* text;
  };
  const Case cases[] = {
      {absl::ZeroDuration(), "0s"},      {absl::Milliseconds(999), "0s"},
      {absl::Seconds(45), "45s"},        {absl::Milliseconds(45999), "45s"},
      {absl::Minutes(90), "1h30m"},      {absl::Hours(3), "3h"},
      {absl::Hours(24), "1d"},           {absl::Hours(24) + absl::Seconds(1), "1d1s"},
      {absl::Hours(24 * 3650), "3650d"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(c.text, DurationText(c.duration));
    EXPECT_EQ(absl::Trunc(c.duration, absl::Seconds(1)), ParseDuration(c.text).value());
  }
  EXPECT_EQ("0s", DurationText(-absl::Hours(1)));
}

}  // namespace
}  // namespace postern
