// What other tables can and cannot do to the gate, with real packets: what the
// doctor's findings claim.

#include <gtest/gtest.h>

#include <string>

#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

constexpr absl::Duration kLong = absl::Minutes(10);
using DoctorBypassTest = GateWorld;

TEST_F(DoctorBypassTest, ANatChainBeforeTheGateDoesNotGetAroundIt) {
  Listen(2222);
  StartGate();
  // Whatever a nat chain's priority, the kernel translates at dstnat.
  Nft(*host_,
      "table ip early { chain pre { type nat hook prerouting priority -190; "
      "tcp dport 22 redirect to :2222; }\n}");
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 2222));
  Allow(1, kFriend4, Tcp(22), kLong);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(DoctorBypassTest, ARedirectToAGuardedPortIsADoorBesideTheGate) {
  StartGate();
  Nft(*host_,
      "table ip side { chain pre { type nat hook prerouting priority dstnat; "
      "tcp dport 2222 redirect to :22; }\n}");
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 2222));
}

TEST_F(DoctorBypassTest, RewritingTheDestinationAfterTheGateGetsAroundIt) {
  StartGate();
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 2222));
  Nft(*host_,
      "table ip rewrite { chain pre { type filter hook prerouting priority -150; "
      "tcp dport 2222 tcp dport set 22; }\n"
      "chain out { type filter hook output priority 200; tcp sport 22 tcp sport set 2222; }\n}");
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 2222));
}

TEST_F(DoctorBypassTest, RewritingTheDestinationBeforeTheGateHidesThePort) {
  Listen(2222);
  StartGate();
  Nft(*host_,
      "table ip rewrite { chain pre { type filter hook prerouting priority -300; "
      "tcp dport 22 tcp dport set 2222; }\n"
      "chain out { type filter hook output priority 200; tcp sport 2222 tcp sport set 22; }\n}");
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(DoctorBypassTest, WithoutTrackingTheGateHoldsAndNothingIsKept) {
  Nft(*host_,
      "table inet raw { chain pre { type filter hook prerouting priority raw; "
      "tcp dport 22 notrack; }\n"
      "chain out { type filter hook output priority raw; tcp sport 22 notrack; }\n}");
  StartGate();
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  const Grant grant = Allow(1, kFriend4, Tcp(22), absl::Seconds(2), OnExpiry::kKeep);
  const Session session = Open(*friend_, kHost4, 22);
  EXPECT_TRUE(Flows(session.client, session.server));
  EXPECT_TRUE(Flows(session.server, session.client));
  WaitForEnd(grant);
  EXPECT_FALSE(Flows(session.client, session.server));
  // What the server still has to send.
  EXPECT_TRUE(Flows(session.server, session.client, kLongPatience));
}

// What leaves the answers out of what is done to the packets they answer.
class DoctorOneWayTest : public GateWorld {
 protected:
  void ExpectASilentSession(const std::string& statement) {
    Nft(*host_,
        "table inet raw { chain pre { type filter hook prerouting priority raw; tcp dport 22 " +
            statement + "; }\n}");
    StartGate();
    EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
    Allow(1, kFriend4, Tcp(22), kLong, OnExpiry::kKeep);
    const Session session = Open(*friend_, kHost4, 22);
    EXPECT_TRUE(Flows(session.client, session.server));
    EXPECT_FALSE(Flows(session.server, session.client));
  }
};

TEST_F(DoctorOneWayTest, UntrackedRequestsGetNoAnswers) { ExpectASilentSession("notrack"); }

TEST_F(DoctorOneWayTest, RequestsInAZoneOfTheirOwnGetNoAnswers) {
  ExpectASilentSession("ct zone set 5");
}

TEST_F(DoctorBypassTest, AZoneOfBothDirectionsIsHarmless) {
  Nft(*host_,
      "table inet raw { chain pre { type filter hook prerouting priority raw; "
      "tcp dport 22 ct zone set 5; }\n"
      "chain out { type filter hook output priority raw; tcp sport 22 ct zone set 5; }\n}");
  StartGate();
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  const Grant keep = Allow(1, kFriend4, Tcp(22), absl::Seconds(2), OnExpiry::kKeep);
  const Session kept = Open(*friend_, kHost4, 22);
  WaitForEnd(keep);
  EXPECT_TRUE(Flows(kept.client, kept.server, kLongPatience));
  EXPECT_TRUE(Flows(kept.server, kept.client, kLongPatience));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  const Grant cut = Allow(2, kFriend4, Tcp(22), absl::Seconds(2), OnExpiry::kCut);
  const Session ended = Open(*friend_, kHost4, 22);
  WaitForEnd(cut);
  EXPECT_FALSE(Flows(ended.client, ended.server));
  EXPECT_FALSE(Flows(ended.server, ended.client));
}

}  // namespace
}  // namespace postern
