// Ending sessions through what connection tracking knows of them: marks,
// translated and forwarded connections, UDP.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/kernel/sessions/linked.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

using TrackingTest = SessionsTest;

INSTANTIATE_TEST_SUITE_P(Families, TrackingTest, ::testing::Values(kIpv4, kIpv6),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(TrackingTest, WhatACutGrantCoversIsCheckedFromNowOn) {
  const Connection kept = ConnectTo(22, kKept);
  covered_ = Coverage::kCut;
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 1));
  EXPECT_TRUE(kept.Lives());
  // The end of the cut grant, as the ruleset brings it about by itself.
  Nft(*server_, kRejectMarked);
  EXPECT_TRUE(kept.ClientIsResetOnSending());
}

TEST_P(TrackingTest, OtherLabelsOfAFlowStay) {
  Nft(*server_, R"(
    table inet others {
      chain prerouting {
        type filter hook prerouting priority -160
        ct state new ct label set 3
      }
      chain checked {
        type filter hook prerouting priority -148
        ct label 3 accept
        ct label 120 meta l4proto tcp reject with tcp reset
      }
    })");
  const Connection kept = ConnectTo(22, kKept);
  covered_ = Coverage::kCut;
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 1));
  EXPECT_TRUE(kept.Lives());
}

TEST_P(TrackingTest, ARedirectedSessionEnds) {
  Nft(*server_, R"(
    table inet redirected {
      chain prerouting {
        type nat hook prerouting priority -100
        tcp dport 22 redirect to :2222
        tcp dport 9999 redirect to :22
      }
    })");
  const Connection ended = Connect(GetParam().client, kKept, GetParam().server, 22, 2222);
  // From another port: Linux 6.1 drops what would look like the redirected one on its way back.
  const Connection direct = Connect(GetParam().client, kKept + 1, GetParam().server, 2222, 2222);
  const Connection unguarded = Connect(GetParam().client, kKept, GetParam().server, 9999, 22);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(1, 1));
  EXPECT_TRUE(ended.ClientWasReset());
  EXPECT_TRUE(direct.Lives()) << "it never came to port 22";
  EXPECT_TRUE(unguarded.Lives()) << "it never came to port 22";
}

TEST_P(TrackingTest, ASessionToAPublishedPortIsMarked) {
  const bool four = family() == Family::kIpv4;
  const std::unique_ptr<Namespace> container = LinkBehindServer();
  Nft(*server_, R"(
    table inet published {
      chain prerouting {
        type nat hook prerouting priority -100
        fib daddr type local tcp dport 22 dnat ip to 10.9.9.2:2022
        fib daddr type local tcp dport 22 dnat ip6 to [fd09::2]:2022
      }
    })");
  const Fd listener = Listen(*container, A(four ? "10.9.9.2" : "fd09::2"), 2022);
  const Connection ended =
      postern::Connect(*client_, A(GetParam().client), kKept, A(GetParam().server), 22, listener);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 1));
  Nft(*server_, kRejectMarked);
  EXPECT_TRUE(ended.ClientIsResetOnSending());
}

TEST_P(TrackingTest, AForwardedSessionIsNotOurs) {
  const bool four = family() == Family::kIpv4;
  const std::unique_ptr<Namespace> behind = LinkBehindServer();
  ASSERT_TRUE(client_->Ip({"route", "add", "10.9.9.0/24", "via", "192.0.2.1"}).ok());
  ASSERT_TRUE(client_->Ip({"route", "add", "fd09::/64", "via", "2001:db8::1"}).ok());
  const Address target = A(four ? "10.9.9.2" : "fd09::2");
  const Fd listener = Listen(*behind, target, 22);
  const Connection forwarded =
      postern::Connect(*client_, A(GetParam().client), kKept, target, 22, listener);
  ASSERT_THAT(Tracked(family(), Protocol::kTcp, 22), testing::SizeIs(1));
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 0));
  EXPECT_TRUE(forwarded.Lives());
}

TEST_P(TrackingTest, AfterAKeepGrantASocketThatConntrackForgotEndsToo) {
  const Connection forgotten = ConnectTo(22, kKept);
  DeleteTracked(family(), 22);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(1, 0));
  EXPECT_TRUE(forgotten.ClientWasReset());
}

TEST_P(TrackingTest, TheHostsOwnConnectionFromAGuardedPortLives) {
  const Fd listener = Listen(*client_, A(GetParam().client), 80);
  const Connection own =
      postern::Connect(*server_, A(GetParam().server), 22, A(GetParam().client), 80, listener);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 0));
  EXPECT_THAT(EndAnywhere(Admission::kCut), Reports(0, 0));
  EXPECT_TRUE(own.Lives());
}

TEST_P(TrackingTest, AFlowThatCannotBearTheMarkLosesItsEntry) {
  Nft(*server_, R"(
    delete table inet admit
    table inet track {
      chain prerouting {
        type filter hook prerouting priority -150
        ct state invalid drop
      }
    })");
  const Connection kept = ConnectTo(22, kKept);
  ASSERT_THAT(Tracked(family(), Protocol::kTcp, 22), testing::SizeIs(1));

  covered_ = Coverage::kCut;
  const absl::Status status = EndAnywhere(Admission::kKeep).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 flows"));
  EXPECT_THAT(Tracked(family(), Protocol::kTcp, 22), IsEmpty());
}

TEST_P(TrackingTest, AUdpFlowIsMarked) {
  const Fd server = BindUdp(*server_, A(GetParam().server), 3389);
  const Fd client = BindUdp(*client_, A(GetParam().client), kKept);
  ASSERT_TRUE(SendUdp(client, A(GetParam().server), 3389, server));
  EXPECT_THAT(End(Admission::kKeep, GetParam().client, 3389, Protocol::kUdp), Reports(0, 1));
  const std::vector<ConntrackEntry> entries = Tracked(family(), Protocol::kUdp, 3389);
  ASSERT_THAT(entries, testing::SizeIs(1));
  EXPECT_TRUE(entries[0].flow.cut);
}

}  // namespace
}  // namespace postern
