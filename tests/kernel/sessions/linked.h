// Sessions over a server and a client that are linked, and a small language to
// drive them.

#ifndef POSTERN_TESTS_KERNEL_SESSIONS_LINKED_H_
#define POSTERN_TESTS_KERNEL_SESSIONS_LINKED_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/sessions/conntrack.h"
#include "agent/sessions/kernel_sessions.h"
#include "tests/kernel/sessions/network.h"
#include "tests/support/grants.h"

namespace postern {

// Connections from ports of 50000 and more are marked as admitted by a cut
// grant.
inline constexpr uint16_t kKept = 40000;
inline constexpr uint16_t kCut = 50000;

inline constexpr char kMarking[] = R"(
table inet admit {
  chain prerouting {
    type filter hook prerouting priority -150
    th sport >= 50000 ct state new ct label set 120
  }
}
)";
// As the gate does with what nothing covers any more, but audibly.
inline constexpr char kRejectMarked[] = R"(
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
inline constexpr Addresses kIpv4 = {"Ipv4", "192.0.2.1", "192.0.2.8", "192.0.2.9", "0.0.0.0/0"};
inline constexpr Addresses kIpv6 = {"Ipv6", "2001:db8::1", "2001:db8::8", "2001:db8::9", "::/0"};

class LinkedTest {
 public:
  LinkedTest() {
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

  std::vector<Flow> Live(const std::vector<uint16_t>& ports) {
    const absl::StatusOr<LiveFlows> live = sessions_->ListLive(ports);
    EXPECT_TRUE(live.ok()) << live.status();
    std::vector<Flow> flows;
    for (const auto& [flow, cookie] : live.value_or(LiveFlows())) flows.push_back(flow);
    return flows;
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

class SessionsTest : public LinkedTest, public ::testing::TestWithParam<Addresses> {
 protected:
  Connection ConnectTo(uint16_t port, uint16_t from_port) {
    return Connect(GetParam().client, from_port, GetParam().server, port, port);
  }
  absl::StatusOr<EndReport> EndAnywhere(Admission admission) {
    return End(admission, GetParam().anywhere);
  }
  Family family() const { return A(GetParam().server).family; }
};

MATCHER_P2(Reports, sockets, flows, "") {
  if (!arg.ok()) {
    *result_listener << arg.status();
    return false;
  }
  *result_listener << arg->sockets_destroyed << " sockets, " << arg->flows_cut << " flows";
  return arg->sockets_destroyed == sockets && arg->flows_cut == flows;
}

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_SESSIONS_LINKED_H_
