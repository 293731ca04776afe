// What the gate must leave alone, and what must not get around it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <fstream>

#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

constexpr absl::Duration kLong = absl::Minutes(10);
using GateSurroundingsTest = GateWorld;

TEST_F(GateSurroundingsTest, LoopbackIsNotGuarded) {
  StartGate();
  EXPECT_TRUE(TcpPasses(*host_, "127.0.0.1", 22));
  EXPECT_TRUE(TcpPasses(*host_, "::1", 22));
  EXPECT_TRUE(TcpPasses(*host_, kHost4, 22));
}

struct Wire {
  const char* host;
  const char* peer;
};
constexpr Wire kWires[] = {{kHost4, kFriend4}, {kHost6, kFriend6}};

TEST_F(GateSurroundingsTest, TheHostsOwnConnectionsFromAGuardedPortGoOn) {
  StartGate();
  listeners_.clear();
  for (const Wire& wire : kWires) {
    const Fd listener = Bind(*friend_, wire.peer, 8080, SOCK_STREAM);
    ASSERT_EQ(listen(listener.get(), 1), 0);
    const Fd client = Bind(*host_, wire.host, 22, SOCK_STREAM);
    ASSERT_TRUE(Connect(client, wire.peer, 8080)) << wire.peer;
    const Fd server = Accept(listener);
    ASSERT_TRUE(server) << wire.peer;
    EXPECT_TRUE(Flows(client, server, kLongPatience)) << wire.peer;
    EXPECT_TRUE(Flows(server, client, kLongPatience)) << wire.peer;
  }
}

TEST_F(GateSurroundingsTest, TheHostsOwnDatagramsFromAGuardedPortAreAnswered) {
  StartGate();
  for (const Wire& wire : kWires) {
    for (const uint16_t port : options_.limits.guarded_ports) {
      const Fd peer = Bind(*friend_, wire.peer, 5353, SOCK_DGRAM);
      const Fd own = Bind(*host_, wire.host, port, SOCK_DGRAM);
      ASSERT_TRUE(Connect(peer, wire.host, port));
      EXPECT_FALSE(Flows(peer, own)) << wire.peer << " was not asked by port " << port;
      ASSERT_TRUE(Connect(own, wire.peer, 5353));
      EXPECT_TRUE(Flows(own, peer, kLongPatience)) << wire.peer << " from " << port;
      EXPECT_TRUE(Flows(peer, own, kLongPatience)) << wire.peer << " to " << port;
      const Fd other = Bind(*friend_, wire.peer, 5354, SOCK_DGRAM);
      ASSERT_TRUE(Connect(other, wire.host, port));
      const uint64_t dropped = gatekeeper_->Status()->dropped.packets;
      EXPECT_FALSE(Flows(other, own)) << "another port was not asked";
      EXPECT_GT(gatekeeper_->Status()->dropped.packets, dropped);
    }
  }
}

TEST_F(GateSurroundingsTest, ConnectionsOlderThanTheGateLiveOnAndAdmitNobodyElse) {
  // Nothing has used connection tracking yet: the kernel never saw this one
  // begin.
  const Session older4 = Open(*friend_, kHost4, 22);
  const Session older6 = Open(*friend_, kHost6, 22);
  StartGate();
  for (const Session* session : {&older4, &older6}) {
    EXPECT_TRUE(Flows(session->client, session->server, kLongPatience));
    EXPECT_TRUE(Flows(session->server, session->client, kLongPatience));
  }
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  KillGate();
  StartGate();
  EXPECT_TRUE(Flows(older4.client, older4.server, kLongPatience));
  // A grant's end and its revocation concern what it admitted.
  Allow(1, kFriend4, Tcp(22), kLong);
  Revoke(1);
  EXPECT_TRUE(Flows(older4.client, older4.server, kLongPatience));
}

TEST_F(GateSurroundingsTest, ALaterConnectionOfTheSameAddressesAndPortsIsNotOlder) {
  const auto open = [&] {
    Session session;
    session.client = Bind(*friend_, kFriend4, 50000, SOCK_STREAM);
    EmptyBacklogs();
    EXPECT_TRUE(Connect(session.client, kHost4, 22));
    for (const auto& [port, listener] : listeners_) {
      if (port == 22) session.server = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
    }
    EXPECT_TRUE(session.server);
    return session;
  };
  // A reset leaves nothing of it on either side.
  const auto reset = [](Session session) {
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(session.client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  };
  Session older = open();
  StartGate();
  ASSERT_EQ(firewall_->ReadOlderFlows()->size(), 1U);
  reset(std::move(older));

  Allow(1, kFriend4, Tcp(22), kLong);
  const Session later = open();
  ASSERT_TRUE(Flows(later.client, later.server, kLongPatience));
  Revoke(1);
  EXPECT_FALSE(Flows(later.client, later.server));
  EXPECT_THAT(*firewall_->ReadOlderFlows(), testing::IsEmpty());
}

TEST_F(GateSurroundingsTest, AServerThatSpeaksFirstOnAnOlderConnectionIsHeard) {
  const Session older = Open(*friend_, kHost4, 22);
  StartGate();
  EXPECT_TRUE(Flows(older.server, older.client, kLongPatience));
  EXPECT_TRUE(Flows(older.client, older.server, kLongPatience));
}

TEST_F(GateSurroundingsTest, ASessionThatConntrackForgotIsNotLetInByItsServer) {
  StartGate();
  const Grant grant = Allow(1, kFriend4, Tcp(22), absl::Milliseconds(1500), OnExpiry::kCut);
  const Session session = Open(*friend_, kHost4, 22);
  EXPECT_TRUE(Flows(session.client, session.server));
  WaitForEnd(grant);
  // Another program's cleaning: the label goes with the entries.
  RunProgram(*host_, {"conntrack", "--flush"});
  EXPECT_FALSE(Flows(session.server, session.client));
  EXPECT_FALSE(Flows(session.client, session.server));
}

class PublishedPortTest : public GateWorld {
 protected:
  // A container behind the host, whose port 80 the host publishes as 22.
  void SetUp() override {
    GateWorld::SetUp();
    absl::StatusOr<std::unique_ptr<Namespace>> made = Namespace::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    container_ = *std::move(made);
    ASSERT_TRUE(host_->Connect("container0", *container_, "eth0").ok());
    ASSERT_TRUE(host_->AddAddress("container0", "10.88.0.1/24").ok());
    ASSERT_TRUE(container_->AddAddress("eth0", "10.88.0.2/24").ok());
    ASSERT_TRUE(container_->Ip({"route", "add", "default", "via", "10.88.0.1"}).ok());
    host_->Run([] { std::ofstream("/proc/sys/net/ipv4/ip_forward") << "1"; });
    Nft(*host_,
        "table ip nat { chain prerouting { type nat hook prerouting priority dstnat; "
        "fib daddr type local tcp dport 22 dnat to 10.88.0.2:80; }\n}");
    inside_ = Bind(*container_, "0.0.0.0", 80, SOCK_STREAM);
    EXPECT_EQ(listen(inside_.get(), 8), 0);
    StartGate();
  }
  Session OpenPublished() {
    Session session;
    session.client = Connect(*friend_, kHost4, 22, kLongPatience);
    session.server = Accept(inside_);
    EXPECT_TRUE(session.client);
    EXPECT_TRUE(session.server);
    return session;
  }

  std::unique_ptr<Namespace> container_;
  Fd inside_;
};

TEST_F(PublishedPortTest, APublishedPortIsGuardedToo) {
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  Allow(1, kFriend4, Tcp(22), kLong);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
}

TEST_F(PublishedPortTest, CutEndsASessionWithAContainerInBothDirections) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), absl::Milliseconds(1500), OnExpiry::kCut);
  const Session session = OpenPublished();
  EXPECT_TRUE(Flows(session.client, session.server));
  EXPECT_TRUE(Flows(session.server, session.client));
  WaitForEnd(grant);
  EXPECT_FALSE(Flows(session.server, session.client));
  EXPECT_FALSE(Flows(session.client, session.server));
}

TEST_F(PublishedPortTest, ARevokeEndsASessionWithAContainer) {
  Allow(1, kFriend4, Tcp(22), kLong, OnExpiry::kKeep);
  const Session session = OpenPublished();
  EXPECT_TRUE(Flows(session.client, session.server));
  Revoke(1);
  EXPECT_FALSE(Flows(session.server, session.client));
  EXPECT_FALSE(Flows(session.client, session.server));
}

TEST_F(GateSurroundingsTest, ObserveCountsAndDropsNothing) {
  options_.gate.enforce = false;
  StartGate();
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger4, 22));
  EXPECT_TRUE(UdpPasses(*stranger_, kHostToStranger6, 3389));
  EXPECT_GE(gatekeeper_->Status()->dropped.packets, 2U);
}

TEST_F(GateSurroundingsTest, EnforcingKeepsTheSessionsThatObservingSaw) {
  options_.gate.enforce = false;
  StartGate();
  const Session session = Open(*stranger_, kHostToStranger4, 22);
  options_.gate.enforce = true;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "test").ok());
  EXPECT_TRUE(Flows(session.client, session.server, kLongPatience));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
}

TEST_F(GateSurroundingsTest, SomeSourcesAreAlwaysAllowed) {
  options_.gate.always_allow = {P("198.51.100.0/24"), P("2001:db8:2::/64")};
  StartGate();
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger4, 22));
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger6, 3389));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GateSurroundingsTest, TrustedInterfacesAreNotGuarded) {
  options_.gate.trusted_interfaces = {"friend0"};
  StartGate();
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
}

TEST_F(GateSurroundingsTest, TheAgentsOwnPortIsForItsControllers) {
  options_.gate.own_port = OwnPort{.port = 7443, .from = {P("192.0.2.0/24"), P(kStranger6)}};
  Listen(7443);
  StartGate();
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 7443));
  EXPECT_FALSE(TcpPasses(*friend_, kHost6, 7443));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 7443));
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger6, 7443));
}

TEST_F(GateSurroundingsTest, AReloadChangesWhoMayReachTheAgentsOwnPort) {
  options_.gate.own_port = OwnPort{.port = 7443, .from = {P("192.0.2.0/24")}};
  Listen(7443);
  StartGate();
  const Session session = Open(*friend_, kHost4, 7443);
  const uint64_t dropped = gatekeeper_->Status()->dropped.packets;
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 7443));
  EXPECT_GT(gatekeeper_->Status()->dropped.packets, dropped) << "by the gate";

  options_.gate.own_port->from = {P("198.51.100.0/24")};
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "test").ok());
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger4, 7443, kLongPatience));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 7443));
  EXPECT_FALSE(Flows(session.client, session.server));

  options_.gate.own_port.reset();
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "test").ok());
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 7443, kLongPatience));
}

TEST_F(GateSurroundingsTest, AnotherTablesAcceptDoesNotOpenTheGate) {
  StartGate();
  Nft(*host_,
      "table inet other { chain early { type filter hook prerouting priority -500; accept; }\n"
      "chain input { type filter hook input priority 0; accept; }\n}");
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GateSurroundingsTest, AnotherTablesDropIsNotOverridden) {
  StartGate();
  Nft(*host_,
      "table inet other { chain input { type filter hook input priority 0; tcp dport 22 drop; "
      "}\n}");
  Allow(1, kFriend4, Tcp(22), kLong);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

}  // namespace
}  // namespace postern
