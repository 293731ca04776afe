// What becomes of live connections, with servers that are sending at the end.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

constexpr absl::Duration kLong = absl::Minutes(10);
// Long enough to open a connection in on a busy machine.
constexpr absl::Duration kBrief = absl::Milliseconds(1500);

class GateSessionsTest : public GateWorld {
 protected:
  void SetUp() override {
    GateWorld::SetUp();
    StartGate();
  }
  // The server goes on sending whether or not it is heard.
  static void Stream(const Fd& server) {
    for (int i = 0; i < 10; ++i) {
      if (send(server.get(), "streaming\n", 10, MSG_NOSIGNAL) != 10) return;
    }
  }
  // Both directions, with a server that is sending when the client speaks.
  static bool IsAlive(const Session& session) {
    Stream(session.server);
    return Flows(session.server, session.client) && Flows(session.client, session.server);
  }
  static bool IsSilent(const Session& session) {
    while (!ReadSome(session.client, absl::ZeroDuration()).empty()) {
    }
    Stream(session.server);
    const bool heard = !ReadSome(session.client, kPatience).empty();
    return !heard && !Flows(session.client, session.server);
  }
  static bool WasReset(const Fd& client) {
    pollfd wait{.fd = client.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 2000) != 1) return false;
    char byte = 0;
    while (recv(client.get(), &byte, 1, 0) > 0) {
    }
    return errno == ECONNRESET;
  }
};

TEST_F(GateSessionsTest, KeepLetsASessionLiveOnAndAdmitsNoNewOne) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), kBrief, OnExpiry::kKeep);
  const Session session = Open(*friend_, kHost4, 22);
  WaitForEnd(grant);
  EXPECT_TRUE(IsAlive(session));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GateSessionsTest, CutStopsAStreamingSessionInBothDirections) {
  for (const char* host : {kHost4, kHost6}) {
    const char* source = host == kHost4 ? kFriend4 : kFriend6;
    const int id = host == kHost4 ? 1 : 2;
    const Grant grant = Allow(id, source, Tcp(22), kBrief, OnExpiry::kCut);
    const Session session = Open(*friend_, host, 22);
    EXPECT_TRUE(IsAlive(session)) << host;
    WaitForEnd(grant);
    EXPECT_TRUE(IsSilent(session)) << host;
  }
}

TEST_F(GateSessionsTest, CutNeedsNoDaemon) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), kBrief, OnExpiry::kCut);
  const Session session = Open(*friend_, kHost4, 22);
  KillGate();
  WaitForEnd(grant, /*daemon_alive=*/false);
  EXPECT_TRUE(IsSilent(session));
}

TEST_F(GateSessionsTest, ResetTellsBothEnds) {
  const Grant grant = Allow(1, kFriend4, Tcp(22), kBrief, OnExpiry::kReset);
  const Session session = Open(*friend_, kHost4, 22);
  Stream(session.server);
  WaitForEnd(grant);
  EXPECT_LT(send(session.server.get(), "x", 1, MSG_NOSIGNAL), 0);
  EXPECT_TRUE(WasReset(session.client));
}

TEST_F(GateSessionsTest, KeepAndCutLiveSideBySideOnOnePort) {
  Allow(1, kStranger4, Tcp(22), kBrief, OnExpiry::kKeep);
  const Grant cut = Allow(2, kFriend4, Tcp(22), kBrief, OnExpiry::kCut);
  const Session kept = Open(*stranger_, kHostToStranger4, 22);
  const Session gone = Open(*friend_, kHost4, 22);
  WaitForEnd(cut);
  EXPECT_TRUE(IsAlive(kept));
  EXPECT_TRUE(IsSilent(gone));
}

TEST_F(GateSessionsTest, ACutSessionLivesWhileAnyGrantCoversIt) {
  const Grant cut = Allow(1, kFriend4, Tcp(22), kBrief, OnExpiry::kCut);
  const Session session = Open(*friend_, kHost4, 22);
  const Grant other = Allow(2, "192.0.2.0/24", Tcp(22), kBrief * 3, OnExpiry::kCut);
  WaitForEnd(cut);
  EXPECT_TRUE(IsAlive(session));
  WaitForEnd(other);
  EXPECT_TRUE(IsSilent(session));
}

TEST_F(GateSessionsTest, ARestartDoesNotForgetWhichSessionsAreCut) {
  const Grant cut = Allow(1, kFriend4, Tcp(22), kBrief, OnExpiry::kCut);
  const Session session = Open(*friend_, kHost4, 22);
  KillGate();
  StartGate();
  EXPECT_TRUE(IsAlive(session));
  WaitForEnd(cut);
  EXPECT_TRUE(IsSilent(session));
}

TEST_F(GateSessionsTest, ARevokeEndsTheSessionsItAloneAdmitted) {
  for (const OnExpiry on_expiry : {OnExpiry::kKeep, OnExpiry::kCut, OnExpiry::kReset}) {
    const int id = 1 + static_cast<int>(on_expiry);
    Allow(id, kFriend4, Tcp(22), kLong, on_expiry);
    const Session session = Open(*friend_, kHost4, 22);
    Stream(session.server);
    Revoke(id);
    EXPECT_LT(send(session.server.get(), "x", 1, MSG_NOSIGNAL), 0) << id;
    EXPECT_TRUE(WasReset(session.client)) << id;
  }
}

TEST_F(GateSessionsTest, ARevokeSparesWhatAnotherKeepGrantAdmits) {
  Allow(1, kFriend4, Tcp(22), kLong);
  Allow(2, "192.0.2.0/24", Tcp(22), kLong);
  const Session session = Open(*friend_, kHost4, 22);
  Revoke(1);
  EXPECT_TRUE(IsAlive(session));
  Revoke(2);
  EXPECT_LT(send(session.server.get(), "x", 1, MSG_NOSIGNAL), 0);
}

TEST_F(GateSessionsTest, ARevokeCanKeepTheSessions) {
  Allow(1, kFriend4, Tcp(22), kLong);
  const Session session = Open(*friend_, kHost4, 22);
  Revoke(1, /*keep_sessions=*/true);
  EXPECT_TRUE(IsAlive(session));
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(GateSessionsTest, ARevokeLeavesOtherSourcesAndPortsAlone) {
  Allow(1, kFriend4, Tcp(22), kLong);
  Allow(2, kFriend4, Tcp(3389), kLong);
  Allow(3, kStranger4, Tcp(22), kLong);
  const Session other_port = Open(*friend_, kHost4, 3389);
  const Session other_source = Open(*stranger_, kHostToStranger4, 22);
  Revoke(1);
  EXPECT_TRUE(IsAlive(other_port));
  EXPECT_TRUE(IsAlive(other_source));
}

}  // namespace
}  // namespace postern
