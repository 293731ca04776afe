// Who may come in, and what they may do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/unit/rpc/test_agent.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class AccessTest : public testing::Test {
 protected:
  TestAgent agent_;
};

TEST_F(AccessTest, EachRoleMayDoItsPart) {
  const struct {
    std::string san;
    bool reads;
    bool changes;
  } kPeers[] = {
      {absl::StrCat("URI:", kControllerSan), true, true},
      {absl::StrCat("DNS:", kOperatorSan), true, true},
      {absl::StrCat("URI:", kViewerSan), true, false},
  };
  for (const auto& peer : kPeers) {
    SCOPED_TRACE(peer.san);
    const auto stub = agent_.RemoteStub(peer.san);
    EXPECT_EQ(GetStatus(*stub).ok(), peer.reads);
    const size_t before = agent_.EventCount();
    const grpc::Status status = Create(*stub, NewGrant()).status;
    EXPECT_EQ(status.ok(), peer.changes) << status.error_message();
    if (peer.changes) continue;
    EXPECT_EQ(status.error_code(), grpc::PERMISSION_DENIED);
    EXPECT_THAT(status.error_message(), HasSubstr("needs the role operator"));
    EXPECT_EQ(agent_.EventCount(), before);
  }
}

TEST_F(AccessTest, AnUnknownNameIsTurnedAway) {
  const size_t before = agent_.EventCount();
  const grpc::Status status =
      Create(*agent_.RemoteStub("URI:spiffe://example.org/stranger"), NewGrant()).status;
  EXPECT_EQ(status.error_code(), grpc::UNAUTHENTICATED);
  EXPECT_THAT(status.error_message(), HasSubstr("spiffe://example.org/stranger"));
  EXPECT_THAT(status.error_message(), HasSubstr("listen.peers"));
  EXPECT_EQ(agent_.EventCount(), before);
}

TEST_F(AccessTest, WithoutAGoodCertificateNobodyComesIn) {
  const TestAuthority other("others");
  const std::string san = absl::StrCat("URI:", kControllerSan);
  const struct {
    const char* name;
    std::shared_ptr<grpc::Channel> channel;
  } kChannels[] = {
      {"no certificate", agent_.Remote({})},
      {"another authority's", agent_.Remote(other.Issue({.names = {san}}))},
      {"expired", agent_.Remote(agent_.authority.Issue({.names = {san},
                                                        .from = absl::Now() - absl::Hours(2),
                                                        .until = absl::Now() - absl::Hours(1)}))},
      {"plain text",
       grpc::CreateChannel(agent_.remote_address(), grpc::InsecureChannelCredentials())},
  };
  const size_t before = agent_.EventCount();
  for (const auto& channel : kChannels) {
    const auto stub = v1::AgentService::NewStub(channel.channel);
    EXPECT_EQ(Create(*stub, NewGrant()).status.error_code(), grpc::UNAVAILABLE) << channel.name;
  }
  EXPECT_EQ(agent_.EventCount(), before);
  EXPECT_TRUE(Create(*agent_.RemoteStub(san), NewGrant()).status.ok());
}

TEST_F(AccessTest, AReloadChangesWhatAConnectedPeerMayDo) {
  const auto stub = agent_.RemoteStub(absl::StrCat("DNS:", kOperatorSan));
  ASSERT_TRUE(Create(*stub, NewGrant()).status.ok());
  agent_.config.listen->peers = {{.san = kOperatorSan, .role = Role::kViewer}};
  agent_.server->Reload(agent_.config, {});
  EXPECT_EQ(Create(*stub, NewGrant()).status.error_code(), grpc::PERMISSION_DENIED);
  EXPECT_TRUE(GetStatus(*stub).ok());
}

TEST_F(AccessTest, NewCertificateFilesAreTakenWithoutARestart) {
  const std::string san = absl::StrCat("URI:", kControllerSan);
  const auto connected = agent_.RemoteStub(san);
  ASSERT_TRUE(GetStatus(*connected).ok());

  const TestAuthority next("next");
  const Identity agent = next.Issue({.names = {absl::StrCat("DNS:", kAgentName)}});
  const auto newcomer = [&] {
    return v1::AgentService::NewStub(agent_.Remote(next.Issue({.names = {san}}), next.cert()));
  };
  EXPECT_EQ(GetStatus(*newcomer()).error_code(), grpc::UNAVAILABLE);

  // Half of a renewal: what was there before serves on, and status says so.
  agent_.directory.Write("agent.pem", agent.cert);
  v1::GetStatusResponse response;
  ASSERT_TRUE(GetStatus(*agent_.RemoteStub(san), &response).ok());
  EXPECT_THAT(response.warnings(), Contains(HasSubstr("does not belong to the certificate")));

  agent_.directory.Write("agent.key", agent.key);
  agent_.directory.Write("ca.pem", next.cert());
  EXPECT_TRUE(GetStatus(*newcomer(), &response).ok());
  EXPECT_THAT(response.warnings(), Not(Contains(HasSubstr("certificate"))));
  // Who knows only the old authority is out, but for the connections that stand.
  EXPECT_EQ(GetStatus(*agent_.RemoteStub(san)).error_code(), grpc::UNAVAILABLE);
  EXPECT_TRUE(GetStatus(*connected).ok());
}

}  // namespace
}  // namespace postern
