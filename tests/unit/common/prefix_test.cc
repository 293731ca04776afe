#include "common/prefix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern {
namespace {

using ::testing::HasSubstr;

TEST(Prefix, ReadsAndWritesItself) {
  struct Case {
    const char* text;
    const char* written;
  };
  const Case cases[] = {
      {"203.0.113.7", "203.0.113.7/32"},
      {"203.0.113.0/24", "203.0.113.0/24"},
      {"0.0.0.0/0", "0.0.0.0/0"},
      {"128.0.0.0/1", "128.0.0.0/1"},
      {"203.0.113.6/31", "203.0.113.6/31"},
      {"2001:db8::1", "2001:db8::1/128"},
      {"2001:0DB8:0:0::/32", "2001:db8::/32"},
      {"::/0", "::/0"},
      {"fe80::/10", "fe80::/10"},
      {"::ffff:203.0.113.7", "203.0.113.7/32"},
      {"203.0.113.0/024", "203.0.113.0/24"},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<Prefix> prefix = Prefix::Parse(c.text);
    ASSERT_TRUE(prefix.ok()) << c.text << ": " << prefix.status();
    EXPECT_EQ(c.written, prefix->ToString());
    EXPECT_EQ(*prefix, Prefix::Parse(prefix->ToString()).value());
  }
}

TEST(Prefix, RefusesWhatIsNone) {
  const char* cases[] = {"",
                         "/",
                         "/24",
                         "203.0.113",
                         "203.0.113.7/",
                         "203.0.113.7/33",
                         "203.0.113.7/-1",
                         "203.0.113.7/+8",
                         "203.0.113.7/ 8",
                         "203.0.113.7/0x8",
                         "203.0.113.0/24/24",
                         "203.0.113.256",
                         "0203.0.113.7",
                         "1",
                         " 203.0.113.7",
                         "203.0.113.7\n",
                         "2001:db8::/129",
                         "2001:db8::1::2",
                         "fe80::1%eth0",
                         "[::1]",
                         "example.org",
                         "::/4294967296",
                         "::ffff:203.0.113.0/120"};
  for (const char* text : cases) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, Prefix::Parse(text).status().code()) << text;
  }
  EXPECT_FALSE(Prefix::Parse(std::string("1.2.3.4\0", 8)).ok());
  EXPECT_FALSE(Prefix::Parse(std::string(1 << 20, '1')).ok());
}

TEST(Prefix, NamesWhatWasProbablyMeantWhereHostBitsAreSet) {
  const absl::Status four = Prefix::Parse("203.0.113.7/24").status();
  EXPECT_THAT(four.message(), HasSubstr("203.0.113.0/24"));
  EXPECT_THAT(four.message(), HasSubstr("203.0.113.7/32"));
  EXPECT_THAT(Prefix::Parse("2001:db8::1/64").status().message(), HasSubstr("2001:db8::/64"));
  EXPECT_FALSE(Prefix::Parse("0.0.0.1/0").ok());
}

TEST(Prefix, MessagesCannotSteerATerminal) {
  EXPECT_THAT(Prefix::Parse("\033[2J").status().message(), HasSubstr("\\x1b"));
}

TEST(Prefix, ContainsItsOwnFamilyOnly) {
  const Prefix net = Prefix::Parse("203.0.112.0/23").value();
  EXPECT_TRUE(net.Contains(Address::Parse("203.0.113.255").value()));
  EXPECT_FALSE(net.Contains(Address::Parse("203.0.114.0").value()));
  EXPECT_TRUE(net.Contains(Prefix::Parse("203.0.113.0/24").value()));
  EXPECT_TRUE(net.Contains(net));
  EXPECT_FALSE(net.Contains(Prefix::Parse("203.0.112.0/22").value()));
  const Prefix all_four = Prefix::Parse("0.0.0.0/0").value();
  EXPECT_FALSE(all_four.Contains(Address::Parse("::1").value()));
  EXPECT_TRUE(all_four.Contains(Address::Parse("::ffff:1.2.3.4").value()));
}

TEST(Masked, ClearsTheBitsBehindTheLength) {
  struct Case {
    const char* address;
    int length;
    const char* masked;
  };
  const Case cases[] = {
      {"255.255.255.255", 0, "0.0.0.0"},           {"255.255.255.255", 1, "128.0.0.0"},
      {"255.255.255.255", 9, "255.128.0.0"},       {"255.255.255.255", 32, "255.255.255.255"},
      {"ffff:ffff::ffff", 17, "ffff:8000::"},      {"ffff:ffff::ffff", 128, "ffff:ffff::ffff"},
      {"ffff:ffff::ffff", 127, "ffff:ffff::fffe"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(c.masked, Masked(Address::Parse(c.address).value(), c.length).ToString());
  }
}

TEST(IsLoopback, IsWhatTheHostAloneCanReach) {
  for (const char* address : {"127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IsLoopback(*Address::Parse(address))) << address;
  }
  for (const char* address : {"0.0.0.0", "128.0.0.1", "::", "::2", "2001:db8::1"}) {
    EXPECT_FALSE(IsLoopback(*Address::Parse(address))) << address;
  }
}

}  // namespace
}  // namespace postern
