// What becomes of UDP flows, with a server that is sending at the end.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <charconv>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

constexpr absl::Duration kLong = absl::Minutes(10);
// Long enough to begin a flow in on a busy machine.
constexpr absl::Duration kBrief = absl::Milliseconds(1500);
constexpr uint16_t kPort = 3389;

// A client and its address as the server sees it.
struct Peer {
  Fd socket;
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_storage);
};

// Sends numbers, in order, to each address all the time; one that the firewall
// refuses is no reason to stop.
class Stream {
 public:
  Stream(int server, const std::vector<const Peer*>& peers)
      : thread_([this, server, peers] {
          while (!stop_) {
            const std::string number = std::to_string(++begun_);
            for (const Peer* peer : peers) {
              sendto(server, number.data(), number.size(), MSG_DONTWAIT,
                     reinterpret_cast<const sockaddr*>(&peer->address), peer->length);
            }
            absl::SleepFor(absl::Milliseconds(2));
          }
        }) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    stop_ = true;
    thread_.join();
  }

  // The last number that may have been sent by now.
  uint64_t begun() const { return begun_; }

 private:
  std::atomic<uint64_t> begun_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

uint64_t NumberIn(const std::string& datagram) {
  uint64_t number = 0;
  std::from_chars(datagram.data(), datagram.data() + datagram.size(), number);
  return number;
}

class GateUdpFlowsTest : public GateWorld, public ::testing::WithParamInterface<Family> {
 protected:
  void SetUp() override {
    GateWorld::SetUp();
    StartGate();
    server_ = Bind(*host_, IsIpv4() ? "0.0.0.0" : "::", kPort, SOCK_DGRAM);
  }

  static bool IsIpv4() { return GetParam() == Family::kIpv4; }
  static const char* FriendsAddress() { return IsIpv4() ? kFriend4 : kFriend6; }
  static const char* StrangersAddress() { return IsIpv4() ? kStranger4 : kStranger6; }

  Fd NewClient(const Namespace& from) {
    const bool is_friend = &from == friend_.get();
    const char* host4 = is_friend ? kHost4 : kHostToStranger4;
    const char* host6 = is_friend ? kHost6 : kHostToStranger6;
    Fd client = Bind(from, IsIpv4() ? "0.0.0.0" : "::", 0, SOCK_DGRAM);
    EXPECT_TRUE(Connect(client, IsIpv4() ? host4 : host6, kPort));
    return client;
  }
  // Begins a flow.
  Peer Join(const Namespace& from) {
    Peer peer{.socket = NewClient(from)};
    EXPECT_TRUE(IsHeard(peer, kLongPatience));
    EXPECT_EQ(send(peer.socket.get(), "x", 1, 0), 1);
    for (int tries = 0; tries < 2500; ++tries) {
      char byte = 0;
      if (recvfrom(server_.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&peer.address),
                   &peer.length) == 1) {
        return peer;
      }
      absl::SleepFor(absl::Milliseconds(2));
    }
    ADD_FAILURE() << "the server heard nothing";
    return peer;
  }

  // Whether what the server sends from now on reaches the client.
  static bool Hears(const Peer& peer, const Stream& stream, absl::Duration patience) {
    const uint64_t before = stream.begun();
    const absl::Time until = absl::Now() + patience;
    // What is not heard must have been sent.
    while (absl::Now() < until || stream.begun() < before + 10) {
      const std::string datagram = ReadSome(peer.socket, absl::Milliseconds(20));
      if (NumberIn(datagram) > before) return true;
    }
    return false;
  }
  bool IsHeard(const Peer& peer, absl::Duration patience) {
    return Flows(peer.socket, server_, patience);
  }
  void ExpectFlows(const Peer& peer, const Stream& stream) {
    EXPECT_TRUE(Hears(peer, stream, kLongPatience));
    EXPECT_TRUE(IsHeard(peer, kLongPatience));
  }
  void ExpectSilence(const Peer& peer, const Stream& stream) {
    EXPECT_FALSE(Hears(peer, stream, kPatience));
    EXPECT_FALSE(IsHeard(peer, kPatience));
    EXPECT_FALSE(Hears(peer, stream, kPatience)) << "after the client has spoken";
  }

  Fd server_;
};

INSTANTIATE_TEST_SUITE_P(Families, GateUdpFlowsTest,
                         ::testing::Values(Family::kIpv4, Family::kIpv6), [](const auto& family) {
                           return std::string(family.param == Family::kIpv4 ? "Ipv4" : "Ipv6");
                         });

TEST_P(GateUdpFlowsTest, KeepLetsAFlowGoOnWhileConntrackKnowsIt) {
  const Grant grant = Allow(1, FriendsAddress(), Udp(kPort), kBrief, OnExpiry::kKeep);
  const Peer peer = Join(*friend_);
  {
    const Stream stream(server_.get(), {&peer});
    WaitForEnd(grant);
    ExpectFlows(peer, stream);
    const Peer newcomer{.socket = NewClient(*friend_)};
    EXPECT_FALSE(IsHeard(newcomer, kPatience));
  }
  RunProgram(*host_, {"conntrack", "--flush"});
  EXPECT_FALSE(IsHeard(peer, kPatience));
}

TEST_P(GateUdpFlowsTest, CutStopsAFlowWithoutTheDaemon) {
  const Grant grant = Allow(1, FriendsAddress(), Udp(kPort), kBrief, OnExpiry::kCut);
  const Peer peer = Join(*friend_);
  const Stream stream(server_.get(), {&peer});
  ExpectFlows(peer, stream);
  KillGate();
  WaitForEnd(grant, /*daemon_alive=*/false);
  ExpectSilence(peer, stream);
}

TEST_P(GateUdpFlowsTest, ResetStopsAFlowAndLeavesTheServerToOthers) {
  Allow(1, StrangersAddress(), Udp(kPort), kLong, OnExpiry::kReset);
  const Grant grant = Allow(2, FriendsAddress(), Udp(kPort), kBrief, OnExpiry::kReset);
  const Peer ended = Join(*friend_);
  const Peer other = Join(*stranger_);
  const Stream stream(server_.get(), {&ended, &other});
  ExpectFlows(ended, stream);
  WaitForEnd(grant);
  ExpectSilence(ended, stream);
  ExpectFlows(other, stream);
}

TEST_P(GateUdpFlowsTest, ARevokeStopsTheFlowsItAloneAdmitted) {
  Allow(1, StrangersAddress(), Udp(kPort), kLong, OnExpiry::kKeep);
  const Peer other = Join(*stranger_);
  for (const OnExpiry on_expiry : {OnExpiry::kKeep, OnExpiry::kCut, OnExpiry::kReset}) {
    SCOPED_TRACE(static_cast<int>(on_expiry));
    const int id = 10 + static_cast<int>(on_expiry);
    Allow(id, FriendsAddress(), Udp(kPort), kLong, on_expiry);
    const Peer ended = Join(*friend_);
    const Stream stream(server_.get(), {&ended, &other});
    ExpectFlows(ended, stream);
    Revoke(id);
    ExpectSilence(ended, stream);
    ExpectFlows(other, stream);
  }
}

TEST_P(GateUdpFlowsTest, ARevokeCanKeepTheFlows) {
  Allow(1, FriendsAddress(), Udp(kPort), kLong, OnExpiry::kKeep);
  const Peer peer = Join(*friend_);
  const Stream stream(server_.get(), {&peer});
  Revoke(1, /*keep_sessions=*/true);
  ExpectFlows(peer, stream);
  const Peer newcomer{.socket = NewClient(*friend_)};
  EXPECT_FALSE(IsHeard(newcomer, kPatience));
}

}  // namespace
}  // namespace postern
