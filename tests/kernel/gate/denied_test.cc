// Whom the gate refused, as the kernel remembers it, with real packets.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/firewall/nft/denied_log.h"
#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr absl::Duration kLong = absl::Minutes(10);

class GateDeniedTest : public GateWorld {
 protected:
  void SetUp() override {
    GateWorld::SetUp();
    StartGate();
    host_->Run([this] {
      absl::StatusOr<std::unique_ptr<nft::DeniedLog>> log = nft::DeniedLog::Open();
      ASSERT_TRUE(log.ok()) << log.status();
      log_ = *std::move(log);
    });
  }

  DeniedAnswer Denied() {
    const absl::StatusOr<DeniedAnswer> denied = gatekeeper_->Denied(10'000);
    EXPECT_TRUE(denied.ok()) << denied.status();
    return denied.value_or(DeniedAnswer());
  }
  // "192.0.2.7 22/tcp"
  std::vector<std::string> Knocks() {
    std::vector<std::string> knocks;
    for (const DeniedSource& source : Denied().sources) {
      knocks.push_back(absl::StrCat(source.source.ToString(), " ", source.port,
                                    source.protocol == Protocol::kTcp ? "/tcp" : "/udp"));
    }
    return knocks;
  }
  // What the log tells until it is silent.
  std::vector<AccessKey> Heard() {
    std::vector<AccessKey> heard;
    pollfd wait = {.fd = log_->fd(), .events = POLLIN, .revents = 0};
    while (poll(&wait, 1, 200) > 0) {
      const absl::StatusOr<std::vector<AccessKey>> knocks = log_->Read();
      EXPECT_TRUE(knocks.ok()) << knocks.status();
      if (!knocks.ok()) break;
      heard.insert(heard.end(), knocks->begin(), knocks->end());
    }
    return heard;
  }
  // Sends a datagram from each of `count` of the friend's addresses, 10.0.0.0 and
  // up.
  void Flood(int count) {
    RunProgram(*friend_, {"ip", "route", "add", "local", "10.0.0.0/16", "dev", "lo"});
    RunProgram(*host_, {"ip", "route", "add", "10.0.0.0/16", "via", kFriend4});
    const Fd sender = Bind(*friend_, "0.0.0.0", 0, SOCK_DGRAM);
    friend_->Run([&] {
      for (int i = 0; i < count; ++i) {
        SendFrom(sender, absl::StrCat("10.0.", i / 256, ".", i % 256), kHost4, 22);
      }
    });
  }
  Counter Dropped() { return firewall_->ReadCounter(kDroppedCounter).value_or(Counter()); }

  std::unique_ptr<nft::DeniedLog> log_;
};

TEST_F(GateDeniedTest, RemembersWhoKnockedOnWhatInBothFamiliesAndProtocols) {
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger6, 3389));
  EXPECT_FALSE(UdpPasses(*friend_, kHost6, 5985));
  EXPECT_FALSE(UdpPasses(*stranger_, kHostToStranger4, 22));
  EXPECT_THAT(Knocks(), UnorderedElementsAre("192.0.2.7 22/tcp", "2001:db8:2::9 3389/tcp",
                                             "2001:db8:1::7 5985/udp", "198.51.100.9 22/udp"));
  EXPECT_TRUE(Denied().enforced);
}

TEST_F(GateDeniedTest, CountsPacketsAndTellsTheLast) {
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(UdpPasses(*friend_, kHost4, 22, 72));
  const DeniedAnswer denied = Denied();
  ASSERT_THAT(denied.sources, SizeIs(1));
  // IP and UDP headers are counted as well.
  EXPECT_EQ(denied.sources[0].packets, (Counter{3, 300}));
  EXPECT_LT(denied.now - denied.sources[0].last_seen, absl::Minutes(1));
  EXPECT_EQ(Dropped().packets, 3U);
}

TEST_F(GateDeniedTest, WhoIsLetInIsNotRemembered) {
  Allow(1, kFriend4, Tcp(22), kLong);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_THAT(Knocks(), IsEmpty());
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
  EXPECT_THAT(Knocks(), UnorderedElementsAre("198.51.100.9 22/tcp"));
}

TEST_F(GateDeniedTest, AnUnguardedPortIsNobodysBusiness) {
  Listen(8080);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 8080));
  EXPECT_THAT(Knocks(), IsEmpty());
}

TEST_F(GateDeniedTest, WhereTheGateObservesItTellsWhoWouldBeRefused) {
  options_.gate.enforce = false;
  ASSERT_TRUE(gatekeeper_->Reconfigure(options_, "test").ok());
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_TRUE(UdpPasses(*stranger_, kHostToStranger6, 22));
  EXPECT_THAT(Knocks(), UnorderedElementsAre("192.0.2.7 22/tcp", "2001:db8:2::9 22/udp"));
  EXPECT_FALSE(Denied().enforced);
  // The packet that opened the connection, and none of the others.
  for (const DeniedSource& source : Denied().sources) EXPECT_EQ(source.packets.packets, 1U);
}

TEST_F(GateDeniedTest, TheLogHearsOfASourceOnce) {
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(UdpPasses(*stranger_, kHostToStranger6, 3389));
  EXPECT_THAT(Heard(),
              UnorderedElementsAre(Key(kFriend4, 22), Key(kStranger6, 3389, Protocol::kUdp)));
}

TEST_F(GateDeniedTest, OneListensAtATime) {
  host_->Run(
      [] { EXPECT_EQ(nft::DeniedLog::Open().status().code(), absl::StatusCode::kUnavailable); });
}

TEST_F(GateDeniedTest, AFloodFromManySourcesIsRefusedAndNeitherFillsTheSetNorTheLog) {
  constexpr int kSources = 20'000;
  Flood(kSources);
  EXPECT_EQ(Dropped().packets, static_cast<uint64_t>(kSources));
  // The burst, and what a slow machine adds while it goes on.
  EXPECT_THAT(Denied().sources.size(), testing::AllOf(testing::Ge(100U), testing::Le(1000U)));
  EXPECT_THAT(Heard().size(), testing::AllOf(testing::Ge(1U), testing::Le(30U)));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
}

TEST_F(GateDeniedTest, AFullSetRefusesAllTheSame) {
  std::vector<InstalledElement> full;
  for (uint32_t i = 0; i < kMaxDenied; ++i) {
    full.push_back({Key(absl::StrCat("10.1.", i / 256, ".", i % 256), 22), kDeniedFor, {}});
  }
  const absl::Status filled = firewall_->Commit(BuildTable(options_.gate, {}, {}, full));
  ASSERT_TRUE(filled.ok()) << filled;
  ASSERT_EQ(Denied().total, kMaxDenied);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(UdpPasses(*friend_, kHost4, 22));
  EXPECT_EQ(Denied().total, kMaxDenied);
  EXPECT_THAT(Knocks(), Not(Contains("192.0.2.7 22/tcp")));
  EXPECT_THAT(Heard(), IsEmpty());
  // The other family has its own.
  EXPECT_FALSE(TcpPasses(*friend_, kHost6, 22));
  EXPECT_THAT(Knocks(), Contains("2001:db8:1::7 22/tcp"));
}

TEST_F(GateDeniedTest, ASourceIsForgottenAfterItsTimeAndThatIsNoDrift) {
  const std::vector<InstalledElement> ending = {
      {Key(kFriend4, 22), absl::Milliseconds(300), {7, 420}}};
  ASSERT_TRUE(firewall_->Commit(BuildTable(options_.gate, {}, {}, ending)).ok());
  const DeniedAnswer before = Denied();
  if (!before.sources.empty()) {
    EXPECT_EQ(before.sources[0].packets, (Counter{7, 420}));
  }
  absl::SleepFor(absl::Milliseconds(600));
  EXPECT_THAT(Knocks(), IsEmpty());
  EXPECT_FALSE(HearOfTable(absl::Milliseconds(300)));
  // It is a new one now.
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_EQ(Denied().sources[0].packets.packets, 1U);
}

TEST_F(GateDeniedTest, WhatThePacketPathRemembersIsNotAnnounced) {
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*friend_, kHost6, 22));
  ASSERT_THAT(Knocks(), SizeIs(2));
  pollfd wait = {.fd = watcher_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, 200), 0);
}

TEST_F(GateDeniedTest, ARestartOfTheDaemonKeepsThem) {
  EXPECT_FALSE(UdpPasses(*friend_, kHost4, 22, 72));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger6, 22));
  log_.reset();
  KillGate();
  EXPECT_FALSE(UdpPasses(*friend_, kHost4, 22, 72));
  StartGate();
  EXPECT_THAT(Knocks(), UnorderedElementsAre("192.0.2.7 22/udp", "2001:db8:2::9 22/tcp"));
  EXPECT_FALSE(UdpPasses(*friend_, kHost4, 22, 72));
  const DeniedAnswer denied = Denied();
  ASSERT_THAT(denied.sources, SizeIs(2));
  EXPECT_EQ(denied.sources[0].packets, (Counter{3, 300}));
}

class GateDeniedTamperTest : public GateDeniedTest {
 protected:
  GateDeniedTamperTest() { protect_ = false; }
};

TEST_F(GateDeniedTamperTest, OthersMayClearTheSetsButNotTakeThemAway) {
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  Nft(*host_, "flush set inet postern denied4");
  EXPECT_FALSE(HearOfTable(absl::Milliseconds(300)));
  EXPECT_THAT(Knocks(), IsEmpty());
  Nft(*host_,
      "flush chain inet postern refuse4; flush chain inet postern newcomer4; "
      "delete set inet postern denied4");
  EXPECT_TRUE(HearOfTable(kLongPatience));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_THAT(Knocks(), UnorderedElementsAre("192.0.2.7 22/tcp"));
}

TEST_F(GateDeniedTamperTest, AKernelWithoutLimitAndLogRemembersAllTheSame) {
  host_->Run([this] {
    nft::Capabilities less = firewall_->capabilities();
    less.limits_rates = false;
    less.logs_packets = false;
    const auto firewall = NftFirewall::Open(less);
    ASSERT_TRUE(firewall.ok()) << firewall.status();
    const absl::Status built = (*firewall)->Commit(BuildTable(options_.gate, {}, {}));
    ASSERT_TRUE(built.ok()) << built;
  });
  // Nothing bounds the newcomers but the set, which is full in the end.
  Flood(static_cast<int>(kMaxDenied) + 1000);
  EXPECT_EQ(Denied().total, kMaxDenied);
  EXPECT_EQ(Dropped().packets, kMaxDenied + 1000);
  EXPECT_FALSE(TcpPasses(*friend_, kHost6, 22));
  EXPECT_THAT(Knocks(), Contains("2001:db8:1::7 22/tcp"));
  EXPECT_THAT(Heard(), IsEmpty());
}

}  // namespace
}  // namespace postern
