// Which packets open a connection, with real packets on the real kernel.

#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

class GatePacketsTest : public GateWorld {
 protected:
  void SetUp() override {
    GateWorld::SetUp();
    StartGate();
  }
};

constexpr absl::Duration kLong = absl::Minutes(10);

TEST_F(GatePacketsTest, IsClosedToEveryoneOnEveryPortFamilyAndProtocol) {
  for (const uint16_t port : options_.limits.guarded_ports) {
    EXPECT_FALSE(TcpPasses(*friend_, kHost4, port)) << port;
    EXPECT_FALSE(TcpPasses(*friend_, kHost6, port)) << port;
    EXPECT_FALSE(UdpPasses(*friend_, kHost4, port)) << port;
    EXPECT_FALSE(UdpPasses(*friend_, kHost6, port)) << port;
  }
}

TEST_F(GatePacketsTest, LeavesOtherPortsAlone) {
  Listen(8080);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 8080));
  EXPECT_TRUE(TcpPasses(*friend_, kHost6, 8080));
  EXPECT_TRUE(UdpPasses(*friend_, kHost4, 8080));
}

TEST_F(GatePacketsTest, OpensBothFamiliesAndProtocols) {
  Allow(1, kFriend4, Udp(22), kLong);
  Allow(2, kFriend6, Any(3389), kLong);
  EXPECT_TRUE(UdpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_TRUE(UdpPasses(*friend_, kHost6, 3389));
  EXPECT_TRUE(TcpPasses(*friend_, kHost6, 3389));
  EXPECT_FALSE(UdpPasses(*stranger_, kHostToStranger6, 3389));
}

TEST_F(GatePacketsTest, EveryPrefixLengthAdmitsItsSourcesOnly) {
  options_.limits.shortest_prefix_ipv4 = 0;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "test").ok());
  for (int length = 0; length <= 32; ++length) {
    const Prefix prefix{.address = Masked(A(kFriend4), length),
                        .length = static_cast<uint8_t>(length)};
    Allow(length + 1, prefix.ToString(), Tcp(22), kLong);
    EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22)) << length;
    // 192.0.2.7 and 198.51.100.9 share their first five bits.
    EXPECT_EQ(TcpPasses(*stranger_, kHostToStranger4, 22), length <= 5) << length;
    Revoke(length + 1);
  }
}

TEST_F(GatePacketsTest, ManyPrefixLengthsAtOnceWorkTogether) {
  options_.limits.shortest_prefix_ipv6 = 0;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "test").ok());
  // More than fit into the one rule that works before connection tracking.
  for (int length = 30; length <= 128; ++length) {
    const Prefix prefix{.address = Masked(A("2001:db8:ffff::1"), length),
                        .length = static_cast<uint8_t>(length)};
    Allow(length, prefix.ToString(), Tcp(22), kLong);
  }
  EXPECT_FALSE(TcpPasses(*friend_, "2001:db8:1::1", 3389));
  Revoke(30);
  Revoke(31);
  Revoke(32);
  EXPECT_FALSE(TcpPasses(*friend_, kHost6, 22));
  Allow(200, kFriend6, Tcp(22), kLong);
  EXPECT_TRUE(TcpPasses(*friend_, kHost6, 22));
}

TEST_F(GatePacketsTest, EndsByItselfWithTheDaemonDead) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), absl::Milliseconds(700));
  KillGate();
  // Never early: what was sent before the end is answered.
  while (clock_.Read().boot + absl::Milliseconds(50) < grant.deadline) {
    const bool passed = TcpPasses(*friend_, kHost4, 22);
    if (clock_.Read().boot < grant.deadline) {
      EXPECT_TRUE(passed);
    }
  }
  WaitForEnd(grant, /*daemon_alive=*/false);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, ARestartFindsWhatItLeft) {
  const Grant brief = Allow(1, kFriend4, Tcp(22), absl::Milliseconds(300));
  Allow(2, kFriend4, Tcp(3389), kLong);
  KillGate();
  WaitForEnd(brief, /*daemon_alive=*/false);
  StartGate();
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 3389));
  const Grant ended = *gatekeeper_->Get(Id(1));
  EXPECT_EQ(ended.state, GrantState::kExpired);
  EXPECT_EQ(ended.end, brief.end);
}

TEST_F(GatePacketsTest, ExtendingMovesTheEnd) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), absl::Milliseconds(300));
  Extend(1, kLong);
  WaitForEnd(grant);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, MovingClosesTheOldSourceAndOpensTheNew) {
  Allow(1, kFriend4, Tcp(22), kLong);
  Move(1, kStranger4);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger4, 22));
}

TEST_F(GatePacketsTest, OneKeyTwiceKeepsTheLatestEnd) {
  const Grant brief = Allow(1, kFriend4, Tcp(22), absl::Milliseconds(300));
  const Grant longer = Allow(2, kFriend4, Tcp(22), absl::Seconds(3));
  WaitForEnd(brief);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  WaitForEnd(longer);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, RevokingTheLongerOfTwoShortensToTheOther) {
  const Grant brief = Allow(1, kFriend4, Tcp(22), absl::Seconds(2));
  Allow(2, kFriend4, Tcp(22), kLong);
  Revoke(2);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  WaitForEnd(brief);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, RevokingTheShorterOfTwoLeavesTheOther) {
  Allow(1, kFriend4, Tcp(22), kLong);
  const Grant longer = Allow(2, kFriend4, Tcp(22), kLong + kLong);
  Revoke(1);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, NestedPrefixesAreIndependentWhicheverIsRevoked) {
  Allow(1, "192.0.2.0/24", Tcp(22), kLong);
  Allow(2, kFriend4, Tcp(22), kLong);
  Revoke(2);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  Allow(3, kFriend4, Tcp(22), kLong);
  Revoke(1);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  Revoke(3);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, ABriefWidePrefixAroundALongNarrowOneEndsAlone) {
  const Grant wide = Allow(1, "192.0.2.0/24", Tcp(22), absl::Milliseconds(300));
  Allow(2, kFriend4, Tcp(22), kLong);
  WaitForEnd(wide);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, FragmentsMeetTheSameGate) {
  EXPECT_FALSE(UdpPasses(*friend_, kHost4, 22, 4000));
  EXPECT_FALSE(UdpPasses(*friend_, kHost6, 22, 4000));
  Allow(1, kFriend4, Udp(22), kLong);
  Allow(2, kFriend6, Udp(22), kLong);
  EXPECT_TRUE(UdpPasses(*friend_, kHost4, 22, 4000));
  EXPECT_TRUE(UdpPasses(*friend_, kHost6, 22, 4000));
}

TEST_F(GatePacketsTest, BroadcastsAreGuardedToo) {
  EXPECT_FALSE(UdpPasses(*friend_, "192.0.2.255", 3389));
  EXPECT_TRUE(UdpPasses(*friend_, "192.0.2.255", 9999));
}

TEST_F(GatePacketsTest, TenThousandGrantsEndInTheSameSecond) {
  std::vector<Command> commands;
  Grant last;
  for (int id = 1; id <= 10'000; ++id) {
    GrantRequest request = Request(id);
    request.sources = {Prefix::Host(A(absl::StrFormat("10.0.%d.%d", id / 256, id % 256)))};
    if (id == 10'000) request.sources = {P(kFriend4)};
    request.duration = absl::Seconds(6);
    commands.push_back({.request = CreateGrant{request},
                        .actor = "test",
                        .done = [&last](absl::StatusOr<Grant> grant) {
                          ASSERT_TRUE(grant.ok()) << grant.status();
                          last = *std::move(grant);
                        }});
  }
  gatekeeper_->Execute(std::move(commands));
  EXPECT_EQ(gatekeeper_->live_grants(), 10'000U);
  // A machine that is slow enough is past the end by now.
  const bool passed = TcpPasses(*friend_, kHost4, 22);
  if (clock_.Read().boot < last.deadline) {
    EXPECT_TRUE(passed);
  }
  WaitForEnd(last);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_EQ(gatekeeper_->live_grants(), 0U);
  Allow(20'000, kFriend4, Tcp(22), kLong);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GatePacketsTest, CountsUseAndRefusals) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), kLong);
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 0U);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  const Usage usage = gatekeeper_->Get(Id(1))->usage;
  // The packet that opened the connection, counted once.
  EXPECT_EQ(usage.packets, 1U);
  ASSERT_TRUE(usage.first_used.has_value());
  EXPECT_GE(*usage.first_used, grant.start - absl::Milliseconds(20));
  EXPECT_LE(*usage.last_used, absl::Now());
  const uint64_t dropped = gatekeeper_->Status()->dropped.packets;
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
  EXPECT_GT(gatekeeper_->Status()->dropped.packets, dropped);
}

}  // namespace
}  // namespace postern
