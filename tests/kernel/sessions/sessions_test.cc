// Sessions against the kernel: real TCP connections between namespaces, seen and
// ended from the server's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/sessions/conntrack.h"
#include "agent/sessions/kernel_sessions.h"
#include "tests/kernel/sessions/network.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Address A(absl::string_view text) { return Address::Parse(text).value(); }
Prefix P(absl::string_view text) { return Prefix::Parse(text).value(); }

// Connections from ports of 50000 and more are marked as admitted by a cut
// grant.
constexpr uint16_t kKept = 40000;
constexpr uint16_t kCut = 50000;

constexpr char kMarking[] = R"(
table inet admit {
  chain prerouting {
    type filter hook prerouting priority -150
    th sport >= 50000 ct state new ct label set 120
  }
}
)";
// As the gate does with what nothing covers any more, but audibly.
constexpr char kRejectMarked[] = R"(
table inet judge {
  chain prerouting {
    type filter hook prerouting priority -149
    ct direction original ct label 120 meta l4proto tcp reject with tcp reset
  }
}
)";

struct Addresses {
  const char* name;
  const char* server;
  const char* client;
  const char* other_client;
  const char* anywhere;
};
constexpr Addresses kIpv4 = {"Ipv4", "192.0.2.1", "192.0.2.8", "192.0.2.9", "0.0.0.0/0"};
constexpr Addresses kIpv6 = {"Ipv6", "2001:db8::1", "2001:db8::8", "2001:db8::9", "::/0"};

class Network {
 public:
  Network() {
    Link(*server_, {"192.0.2.1/24", "2001:db8::1/64"}, *client_,
         {"192.0.2.8/24", "192.0.2.9/24", "2001:db8::8/64", "2001:db8::9/64"}, "wire");
    Nft(*server_, kMarking);
    server_->Run([this] { sessions_ = KernelSessions::Open().value(); });
  }

 protected:
  // The port's listener is made when it is first used.
  Connection Connect(const char* from, uint16_t from_port, const char* to, uint16_t port,
                     uint16_t served_port) {
    const auto key = std::make_pair(std::string(to), served_port);
    auto listener = listeners_.find(key);
    if (listener == listeners_.end()) {
      listener = listeners_.emplace(key, Listen(*server_, A(to), served_port)).first;
    }
    return postern::Connect(*client_, A(from), from_port, A(to), port, listener->second);
  }

  absl::StatusOr<EndReport> End(Admission admission, absl::string_view source, uint16_t port = 22,
                                Protocol protocol = Protocol::kTcp) {
    const EndedGrant ended{.keys = {{.source = P(source), .protocol = protocol, .port = port}},
                           .admission = admission};
    return sessions_->End({ended}, coverage_, spared_);
  }

  // A namespace that is reached through the server: 10.9.9.2 and fd09::2.
  std::unique_ptr<Namespace> LinkBehindServer() {
    std::unique_ptr<Namespace> behind = MakeNamespace();
    Link(*server_, {"10.9.9.1/24", "fd09::1/64"}, *behind, {"10.9.9.2/24", "fd09::2/64"}, "inner");
    EXPECT_TRUE(behind->Ip({"route", "add", "default", "via", "10.9.9.1"}).ok());
    EXPECT_TRUE(behind->Ip({"route", "add", "default", "via", "fd09::1"}).ok());
    Forward(*server_);
    return behind;
  }

  std::vector<ConntrackEntry> Tracked(Family family, Protocol protocol, uint16_t port) {
    std::vector<ConntrackEntry> entries;
    server_->Run([&] {
      EXPECT_TRUE(Conntrack::Open()
                      ->Visit({{.family = family, .protocol = protocol, .port = port}},
                              [&](ConntrackEntry entry) { entries.push_back(std::move(entry)); })
                      .ok());
    });
    return entries;
  }

  void DeleteTracked(Family family, uint16_t port) {
    const std::vector<ConntrackEntry> entries = Tracked(family, Protocol::kTcp, port);
    server_->Run(
        [&] { EXPECT_THAT(Conntrack::Open()->Delete(entries).value(), testing::Each(0)); });
  }

  const std::unique_ptr<Namespace> server_ = MakeNamespace();
  const std::unique_ptr<Namespace> client_ = MakeNamespace();
  std::unique_ptr<KernelSessions> sessions_;
  std::map<std::pair<std::string, uint16_t>, Fd> listeners_;
  Sessions::CoverageFunction coverage_ = [this](const Address&, Protocol, uint16_t) {
    return covered_;
  };
  Coverage covered_ = Coverage::kNone;
  std::set<Flow> spared_;
};

class SessionsTest : public Network, public ::testing::TestWithParam<Addresses> {
 protected:
  Connection ConnectTo(uint16_t port, uint16_t from_port) {
    return Connect(GetParam().client, from_port, GetParam().server, port, port);
  }
  absl::StatusOr<EndReport> EndAnywhere(Admission admission) {
    return End(admission, GetParam().anywhere);
  }
  Family family() const { return A(GetParam().server).family; }
};

INSTANTIATE_TEST_SUITE_P(Families, SessionsTest, ::testing::Values(kIpv4, kIpv6),
                         [](const auto& tested) { return tested.param.name; });

MATCHER_P2(Reports, sockets, flows, "") {
  if (!arg.ok()) {
    *result_listener << arg.status();
    return false;
  }
  *result_listener << arg->sockets_destroyed << " sockets, " << arg->flows_cut << " flows";
  return arg->sockets_destroyed == sockets && arg->flows_cut == flows;
}

TEST_P(SessionsTest, ListsConnectionsOnThePortsAndNothingElse) {
  const Connection ssh = ConnectTo(22, kKept);
  const Connection rdp = ConnectTo(3389, kKept);
  const Connection web = ConnectTo(80, kKept);
  const Fd loopback = Listen(*server_, A(family() == Family::kIpv4 ? "127.0.0.1" : "::1"), 22);
  const Address own = A(family() == Family::kIpv4 ? "127.0.0.1" : "::1");
  const Connection local = postern::Connect(*server_, own, kKept, own, 22, loopback);

  EXPECT_THAT(sessions_->ListLive({22, 3389, 5985}).value(),
              UnorderedElementsAre(ssh.flow, rdp.flow));
  EXPECT_THAT(sessions_->ListLive({5985}).value(), IsEmpty());
  EXPECT_THAT(sessions_->ListLive({}).value(), IsEmpty());
}

TEST_P(SessionsTest, ListsWhateverTheNumberOfPorts) {
  const Connection ssh = ConnectTo(22, kKept);
  for (const uint16_t count : {1, 2, 100, 600, 2000}) {
    // Port 22 stands first, in the middle, and last.
    for (const uint16_t lowest : {22, 22 - std::min(21, count / 2), 22 - std::min(21, count - 1)}) {
      std::vector<uint16_t> ports;
      for (uint16_t i = 0; i < count; ++i) ports.push_back(lowest + i);
      const bool listed = std::find(ports.begin(), ports.end(), 22) != ports.end();
      EXPECT_EQ(sessions_->ListLive(ports)->size(), listed ? 1 : 0) << count << " from " << lowest;
    }
  }
}

TEST_P(SessionsTest, ListsAConnectionThatTheClientHasHalfClosed) {
  const Connection ssh = ConnectTo(22, kKept);
  shutdown(ssh.client.get(), SHUT_WR);
  char byte = 0;
  ASSERT_EQ(recv(ssh.server.get(), &byte, 1, 0), 0);
  EXPECT_THAT(sessions_->ListLive({22}).value(), UnorderedElementsAre(ssh.flow));
}

TEST_P(SessionsTest, AfterAKeepGrantItsSessionsEnd) {
  const Connection ended = ConnectTo(22, kKept);
  const Connection other_port = ConnectTo(3389, kKept);
  const Connection other_source =
      Connect(GetParam().other_client, kKept, GetParam().server, 22, 22);
  const Connection cut = ConnectTo(22, kCut);

  EXPECT_THAT(End(Admission::kKeep, GetParam().client), Reports(1, 1));
  EXPECT_TRUE(ended.ClientWasReset());
  EXPECT_TRUE(other_port.Lives());
  EXPECT_TRUE(other_source.Lives());
  EXPECT_TRUE(cut.Lives()) << "a cut grant admitted it";
}

TEST_P(SessionsTest, AfterACutGrantItsSessionsEnd) {
  const Connection kept = ConnectTo(22, kKept);
  const Connection cut = ConnectTo(22, kCut);
  EXPECT_THAT(EndAnywhere(Admission::kCut), Reports(1, 1));
  EXPECT_TRUE(cut.ClientWasReset());
  EXPECT_TRUE(kept.Lives());
}

TEST_P(SessionsTest, AStreamingSessionEnds) {
  const Connection ended = ConnectTo(22, kKept);
  const std::string block(1 << 16, 's');
  while (send(ended.server.get(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
  }
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(1, 1));
  std::string received(1 << 16, 0);
  ssize_t size = 1;
  while (size > 0) size = recv(ended.client.get(), received.data(), received.size(), MSG_DONTWAIT);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(SessionsTest, SparedConnectionsLive) {
  const Connection older = ConnectTo(22, kKept);
  const Connection ended = ConnectTo(22, kKept + 1);
  spared_ = {older.flow};
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(1, 1));
  EXPECT_TRUE(ended.ClientWasReset());
  EXPECT_TRUE(older.Lives());
}

TEST_P(SessionsTest, WhatAKeepGrantCoversLives) {
  const Connection kept = ConnectTo(22, kKept);
  const Connection cut = ConnectTo(22, kCut);
  covered_ = Coverage::kKeep;
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 0));
  EXPECT_THAT(EndAnywhere(Admission::kCut), Reports(0, 0));
  EXPECT_TRUE(cut.Lives());
  Nft(*server_, kRejectMarked);
  EXPECT_TRUE(kept.Lives()) << "it is not marked";
}

TEST_P(SessionsTest, WhatACutGrantCoversIsCheckedFromNowOn) {
  const Connection kept = ConnectTo(22, kKept);
  covered_ = Coverage::kCut;
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 1));
  EXPECT_TRUE(kept.Lives());
  // The end of the cut grant, as the ruleset brings it about by itself.
  Nft(*server_, kRejectMarked);
  EXPECT_TRUE(kept.ClientIsResetOnSending());
}

TEST_P(SessionsTest, OtherLabelsOfAFlowStay) {
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

TEST_P(SessionsTest, ARedirectedSessionEnds) {
  Nft(*server_, R"(
    table inet redirected {
      chain prerouting {
        type nat hook prerouting priority -100
        tcp dport 22 redirect to :2222
        tcp dport 9999 redirect to :22
      }
    })");
  const Connection ended = Connect(GetParam().client, kKept, GetParam().server, 22, 2222);
  const Connection direct = Connect(GetParam().client, kKept, GetParam().server, 2222, 2222);
  const Connection unguarded = Connect(GetParam().client, kKept, GetParam().server, 9999, 22);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(1, 1));
  EXPECT_TRUE(ended.ClientWasReset());
  EXPECT_TRUE(direct.Lives()) << "it never came to port 22";
  EXPECT_TRUE(unguarded.Lives()) << "it never came to port 22";
}

TEST_P(SessionsTest, ASessionToAPublishedPortIsMarked) {
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

TEST_P(SessionsTest, AForwardedSessionIsNotOurs) {
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

TEST_P(SessionsTest, AfterAKeepGrantASocketThatConntrackForgotEndsToo) {
  const Connection forgotten = ConnectTo(22, kKept);
  DeleteTracked(family(), 22);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(1, 0));
  EXPECT_TRUE(forgotten.ClientWasReset());
}

TEST_P(SessionsTest, TheHostsOwnConnectionFromAGuardedPortLives) {
  const Fd listener = Listen(*client_, A(GetParam().client), 80);
  const Connection own =
      postern::Connect(*server_, A(GetParam().server), 22, A(GetParam().client), 80, listener);
  EXPECT_THAT(EndAnywhere(Admission::kKeep), Reports(0, 0));
  EXPECT_THAT(EndAnywhere(Admission::kCut), Reports(0, 0));
  EXPECT_TRUE(own.Lives());
}

TEST_P(SessionsTest, AFlowThatCannotBearTheMarkLosesItsEntry) {
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

TEST_P(SessionsTest, NothingEndedChangesNothing) {
  const Connection kept = ConnectTo(22, kKept);
  EXPECT_THAT(sessions_->End({}, coverage_, spared_), Reports(0, 0));
  EXPECT_THAT(End(Admission::kKeep, GetParam().other_client), Reports(0, 0));
  EXPECT_TRUE(kept.Lives());
}

TEST_P(SessionsTest, TenThousandGrantsEndAtOnce) {
  std::vector<Connection> ended;
  for (uint16_t i = 0; i < 200; ++i) ended.push_back(ConnectTo(22, kKept + i));
  EndedGrant all{.keys = {}, .admission = Admission::kKeep};
  Prefix source = P(family() == Family::kIpv4 ? "10.0.0.0/32" : "fd00::/128");
  for (int i = 0; i < 10'000; ++i) {
    source.address.bytes[source.address.size() - 1] = static_cast<uint8_t>(i & 0xff);
    source.address.bytes[source.address.size() - 2] = static_cast<uint8_t>(i >> 8);
    all.keys.push_back({.source = source, .protocol = Protocol::kTcp, .port = 22});
  }
  all.keys.push_back({.source = P(GetParam().client), .protocol = Protocol::kTcp, .port = 22});
  EXPECT_THAT(sessions_->End({all}, coverage_, spared_), Reports(200, 200));
  for (const Connection& connection : ended) EXPECT_TRUE(connection.ClientWasReset());
}

TEST_P(SessionsTest, WithoutCapNetAdminItSaysSo) {
  const Connection kept = ConnectTo(22, kKept);
  absl::Status status;
  // Capabilities belong to the thread.
  std::thread([&] {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
    EXPECT_THAT(sessions_->ListLive({22}).value(), UnorderedElementsAre(kept.flow));
    status = EndAnywhere(Admission::kKeep).status();
  }).join();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("CAP_NET_ADMIN"));
  EXPECT_TRUE(kept.Lives());
}

TEST_P(SessionsTest, AUdpFlowIsMarked) {
  const Fd server = BindUdp(*server_, A(GetParam().server), 3389);
  const Fd client = BindUdp(*client_, A(GetParam().client), kKept);
  ASSERT_TRUE(SendUdp(client, A(GetParam().server), 3389, server));
  EXPECT_THAT(End(Admission::kKeep, GetParam().client, 3389, Protocol::kUdp), Reports(0, 1));
  const std::vector<ConntrackEntry> entries = Tracked(family(), Protocol::kUdp, 3389);
  ASSERT_THAT(entries, testing::SizeIs(1));
  EXPECT_TRUE(entries[0].flow.cut);
}

class DualStackTest : public Network, public ::testing::Test {};

TEST_F(DualStackTest, AnIpv6SocketWithMappedAddressesIsAnIpv4Session) {
  const Fd listener = Listen(*server_, A("::"), 22);
  const Connection ended =
      postern::Connect(*client_, A("192.0.2.8"), kKept, A("192.0.2.1"), 22, listener);
  EXPECT_THAT(sessions_->ListLive({22}).value(), UnorderedElementsAre(ended.flow));
  EXPECT_THAT(End(Admission::kKeep, "192.0.2.8/32"), Reports(1, 1));
  EXPECT_TRUE(ended.ClientWasReset());
}

}  // namespace
}  // namespace postern
