#include "agent/store/codec.h"

#include <gtest/gtest.h>

#include "tests/support/grants.h"

namespace postern {
namespace {

TEST(CodecTest, ListsReadBack) {
  const std::vector<Prefix> prefixes = {P("203.0.113.0/24"), P("2001:db8::7")};
  EXPECT_EQ(EncodePrefixes(prefixes), "203.0.113.0/24 2001:db8::7/128");
  EXPECT_EQ(*DecodePrefixes(EncodePrefixes(prefixes)), prefixes);
  const std::vector<Port> ports = {Tcp(22), Udp(3389), Any(65535)};
  EXPECT_EQ(EncodePorts(ports), "22/tcp 3389/udp 65535/any");
  EXPECT_EQ(*DecodePorts(EncodePorts(ports)), ports);
  EXPECT_TRUE(DecodePorts("")->empty());
}

TEST(CodecTest, DamagedListsAreRefused) {
  for (const char* text : {"22", "22/", "0/tcp", "65536/tcp", "x/tcp", "22/sctp", "-1/udp",
                           "+22/tcp", "022/tcp", "22/tcp/", "22/tcp/udp", "22/tcp\n"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodePorts(text).status())) << text;
  }
  for (const char* text : {"203.0.113.7/33", "203.0.113.7/24", "everywhere", "2001:db8::/x"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodePrefixes(text).status())) << text;
  }
  EXPECT_EQ(DecodePorts("0//\x1b").status().message(), "\"0//\\x1b\" is not a port");
  EXPECT_LT(DecodePorts(std::string(100'000, 'x')).status().message().size(), 100U);
}

TEST(CodecTest, TimesKeepTheirNanoseconds) {
  const absl::Time time = absl::FromUnixNanos(1'800'000'000'123'456'789);
  EXPECT_EQ(DecodeTime(EncodeTime(time)), time);
}

}  // namespace
}  // namespace postern
