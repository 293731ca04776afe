// Which sessions there are and which of them end, against the kernel: real TCP
// connections between namespaces, seen and ended from the server's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/sessions/linked.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

INSTANTIATE_TEST_SUITE_P(Families, SessionsTest, ::testing::Values(kIpv4, kIpv6),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(SessionsTest, ListsConnectionsOnThePortsAndNothingElse) {
  const Connection ssh = ConnectTo(22, kKept);
  const Connection rdp = ConnectTo(3389, kKept);
  const Connection web = ConnectTo(80, kKept);
  const Fd loopback = Listen(*server_, A(family() == Family::kIpv4 ? "127.0.0.1" : "::1"), 22);
  const Address own = A(family() == Family::kIpv4 ? "127.0.0.1" : "::1");
  const Connection local = postern::Connect(*server_, own, kKept, own, 22, loopback);

  EXPECT_THAT(Live({22, 3389, 5985}), UnorderedElementsAre(ssh.flow, rdp.flow));
  EXPECT_THAT(Live({5985}), IsEmpty());
  EXPECT_THAT(Live({}), IsEmpty());
}

TEST_P(SessionsTest, ListsWhateverTheNumberOfPorts) {
  const Connection ssh = ConnectTo(22, kKept);
  for (const uint16_t count : {1, 2, 100, 600, 2000}) {
    // Port 22 stands first, in the middle, and last.
    for (const uint16_t lowest : {22, 22 - std::min(21, count / 2), 22 - std::min(21, count - 1)}) {
      std::vector<uint16_t> ports;
      for (uint16_t i = 0; i < count; ++i) ports.push_back(lowest + i);
      const bool listed = std::find(ports.begin(), ports.end(), 22) != ports.end();
      EXPECT_EQ(Live(ports).size(), listed ? 1 : 0) << count << " from " << lowest;
    }
  }
}

TEST_P(SessionsTest, ListsAConnectionThatTheClientHasHalfClosed) {
  const Connection ssh = ConnectTo(22, kKept);
  shutdown(ssh.client.get(), SHUT_WR);
  char byte = 0;
  ASSERT_EQ(recv(ssh.server.get(), &byte, 1, 0), 0);
  EXPECT_THAT(Live({22}), UnorderedElementsAre(ssh.flow));
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
    EXPECT_THAT(Live({22}), UnorderedElementsAre(kept.flow));
    status = EndAnywhere(Admission::kKeep).status();
  }).join();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("CAP_NET_ADMIN"));
  EXPECT_TRUE(kept.Lives());
}

class DualStackTest : public LinkedTest, public ::testing::Test {};

TEST_F(DualStackTest, AnIpv6SocketWithMappedAddressesIsAnIpv4Session) {
  const Fd listener = Listen(*server_, A("::"), 22);
  const Connection ended =
      postern::Connect(*client_, A("192.0.2.8"), kKept, A("192.0.2.1"), 22, listener);
  EXPECT_THAT(Live({22}), UnorderedElementsAre(ended.flow));
  EXPECT_THAT(End(Admission::kKeep, "192.0.2.8/32"), Reports(1, 1));
  EXPECT_TRUE(ended.ClientWasReset());
}

}  // namespace
}  // namespace postern
