#include "cli/forms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern {
namespace {

using ::testing::HasSubstr;

TEST(ParsePort, ReadsNumberAndProtocol) {
  struct Case {
    const char* text;
    const char* written;
  };
  const Case cases[] = {{"22", "22/tcp"},          {"22/tcp", "22/tcp"}, {"22/udp", "22/udp"},
                        {"3389/any", "3389/any"},  {"22/TCP", "22/tcp"}, {"1", "1/tcp"},
                        {"65535/udp", "65535/udp"}};
  for (const Case& c : cases) {
    const absl::StatusOr<v1::Port> port = ParsePort(c.text);
    ASSERT_TRUE(port.ok()) << port.status();
    EXPECT_EQ(c.written, FormatPort(*port));
  }
}

TEST(ParsePort, RefusesTheRest) {
  const char* cases[] = {
      "",           "0",   "65536",  "-1",    "+22",  "22/",    "22/sctp",
      "/tcp",       " 22", "22 ",    "22,23", "ssh",  "0x16",   "4294967318",
      "22/tcp/udp", "2.2", "000022", "22-25", "22\n", "tcp/22", "99999999999999999999"};
  for (const char* text : cases) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, ParsePort(text).status().code()) << text;
  }
}

TEST(ParseTimestamp, ReadsRfc3339) {
  struct Case {
    const char* text;
    int64_t milliseconds;
  };
  const Case cases[] = {{"2024-05-01T12:00:00Z", 1714564800000},
                        {"2024-05-01T14:00:00+02:00", 1714564800000},
                        {"2024-05-01T12:00:00.25Z", 1714564800250},
                        {"1969-12-31T23:59:59Z", -1000}};
  for (const Case& c : cases) {
    EXPECT_EQ(absl::FromUnixMillis(c.milliseconds), ParseTimestamp(c.text).value()) << c.text;
  }
}

TEST(ParseTimestamp, RefusesTheRest) {
  const char* cases[] = {"",
                         "now",
                         "infinite-future",
                         "NaN",
                         "2024-05-01",
                         "2024-05-01T12:00:00",
                         "2024-05-01 12:00:00Z",
                         "2024-05-01T12:00Z",
                         "2024-13-01T12:00:00Z",
                         "2024-02-30T12:00:00Z",
                         "2024-05-01T25:00:00Z",
                         "2024-05-01T12:00:00.Z",
                         "2024-05-01T12:00:00.1234567890Z",
                         "2024-05-01T12:00:00+2",
                         "2024-05-01T12:00:00+0200",
                         " 2024-05-01T12:00:00Z",
                         "2024-05-01T12:00:00Zjunk",
                         "12024-05-01T12:00:00Z",
                         "1714564800"};
  for (const char* text : cases) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, ParseTimestamp(text).status().code()) << text;
  }
}

TEST(ParseSince, TakesDurationsAndTimes) {
  const absl::Time now = absl::FromUnixSeconds(1714564800);
  EXPECT_EQ(now - absl::Hours(7 * 24), ParseSince("7d", now).value());
  EXPECT_EQ(now, ParseSince("2024-05-01T12:00:00Z", now).value());
  EXPECT_THAT(ParseSince("yesterday", now).status().message(), HasSubstr("7d"));
}

TEST(SshClient, TakesTheFirstOfFourFields) {
  EXPECT_EQ("203.0.113.7", SshClient("203.0.113.7 52114 192.0.2.10 22").value().ToString());
  EXPECT_EQ("2001:db8::7", SshClient("2001:db8::7 52114 2001:db8::1 22").value().ToString());
  EXPECT_EQ("203.0.113.7", SshClient("::ffff:203.0.113.7 52114 ::1 22").value().ToString());
}

TEST(SshClient, RefusesWhatSshDoesNotSet) {
  const char* cases[] = {"",
                         "203.0.113.7",
                         "203.0.113.7 52114 192.0.2.10",
                         "203.0.113.7 52114 192.0.2.10 22 5",
                         "203.0.113.7 x 192.0.2.10 22",
                         "host 52114 192.0.2.10 22",
                         "203.0.113.0/24 52114 192.0.2.10 22",
                         "203.0.113.7  52114 192.0.2.10 22"};
  for (const char* text : cases) EXPECT_FALSE(SshClient(text).ok()) << text;
  EXPECT_THAT(SshClient("fe80::1%eth0 52114 fe80::2%eth0 22").status().message(),
              HasSubstr("link-local"));
}

TEST(ParseHostPort, ReadsNamesAndAddresses) {
  const char* cases[] = {"vm1.example.org:7443", "vm1:1", "192.0.2.10:7443", "[2001:db8::1]:7443"};
  for (const char* text : cases) EXPECT_EQ(text, ParseHostPort(text).value().ToString());
  EXPECT_TRUE(ParseHostPort("192.0.2.10:7443")->is_ipv4);
  EXPECT_TRUE(ParseHostPort("[::1]:7443")->is_ipv6);
  EXPECT_EQ("::1", ParseHostPort("[::1]:7443")->host);
}

TEST(ParseHostPort, RefusesTheRest) {
  const char* cases[] = {"",
                         "vm1",
                         "vm1:",
                         "vm1:0",
                         "vm1:65536",
                         ":7443",
                         "::1:7443",
                         "[::1]",
                         "[::1]7443",
                         "[vm1]:7443",
                         "a b:7443",
                         "-a:7443",
                         "a..b:7443",
                         "vm1:+7",
                         "vm1:7443/x",
                         "[1.2.3.4]:1",
                         "192.0.2.300:7443",
                         "unix:/x:7",
                         "dns:///vm1:7",
                         "a_b:7",
                         "[fe80::1%eth0]:7443"};
  for (const char* text : cases) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, ParseHostPort(text).status().code()) << text;
  }
}

}  // namespace
}  // namespace postern
