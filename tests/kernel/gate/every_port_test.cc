// Each guarded port, in each family and protocol: closed, granted, revoked, ended.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

constexpr absl::Duration kLong = absl::Minutes(10);
// Long enough to try four ports in on a busy machine.
constexpr absl::Duration kBrief = absl::Seconds(2);

struct Way {
  const char* name;
  Protocol protocol;
  const char* friends;
  const char* host;
  // The same host for the stranger.
  const char* host_to_stranger;
  // The same host in the other family.
  const char* host_otherwise;
};
constexpr Way kWays[] = {
    {"TcpOverIpv4", Protocol::kTcp, kFriend4, kHost4, kHostToStranger4, kHost6},
    {"TcpOverIpv6", Protocol::kTcp, kFriend6, kHost6, kHostToStranger6, kHost4},
    {"UdpOverIpv4", Protocol::kUdp, kFriend4, kHost4, kHostToStranger4, kHost6},
    {"UdpOverIpv6", Protocol::kUdp, kFriend6, kHost6, kHostToStranger6, kHost4},
};

class GateEveryPortTest : public GateWorld, public ::testing::WithParamInterface<Way> {
 protected:
  void SetUp() override {
    GateWorld::SetUp();
    StartGate();
    ASSERT_EQ(Ports(), (std::vector<uint16_t>{22, 3389, 5985, 5986}));
  }
  const std::vector<uint16_t>& Ports() const { return options_.limits.guarded_ports; }
  static Port Granted(uint16_t number) {
    return GetParam().protocol == Protocol::kTcp ? Tcp(number) : Udp(number);
  }
  bool Passes(const Namespace& from, const char* to, uint16_t port, absl::Duration patience) {
    return GetParam().protocol == Protocol::kTcp ? TcpPasses(from, to, port, patience)
                                                 : UdpPasses(from, to, port, 8, patience);
  }
  bool IsOpen(uint16_t port) { return Passes(*friend_, GetParam().host, port, kLongPatience); }
  bool IsClosed(uint16_t port) { return !Passes(*friend_, GetParam().host, port, kPatience); }
};

INSTANTIATE_TEST_SUITE_P(Ways, GateEveryPortTest, ::testing::ValuesIn(kWays),
                         [](const auto& way) { return std::string(way.param.name); });

TEST_P(GateEveryPortTest, OpensWhatIsGrantedAndNothingElse) {
  for (const uint16_t port : Ports()) {
    EXPECT_TRUE(IsClosed(port)) << port;
    Allow(port, GetParam().friends, Granted(port), kLong);
    EXPECT_TRUE(IsOpen(port)) << port;
    EXPECT_FALSE(Passes(*stranger_, GetParam().host_to_stranger, port, kPatience)) << port;
    EXPECT_FALSE(Passes(*friend_, GetParam().host_otherwise, port, kPatience)) << port;
    const bool other_protocol = GetParam().protocol == Protocol::kTcp
                                    ? UdpPasses(*friend_, GetParam().host, port)
                                    : TcpPasses(*friend_, GetParam().host, port);
    EXPECT_FALSE(other_protocol) << port;
  }
  for (const uint16_t port : Ports()) {
    Revoke(port);
    EXPECT_TRUE(IsClosed(port)) << port;
  }
}

TEST_P(GateEveryPortTest, ClosesAtTheEndOfTheGrant) {
  Grant last;
  for (const uint16_t port : Ports()) {
    last = Allow(port, GetParam().friends, Granted(port), kBrief);
    EXPECT_TRUE(IsOpen(port)) << port;
  }
  WaitForEnd(last);
  for (const uint16_t port : Ports()) EXPECT_TRUE(IsClosed(port)) << port;
}

}  // namespace
}  // namespace postern
