#include "agent/rpc/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/grpc/peer.h"

namespace postern {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kController[] = "spiffe://example.org/postern/controller";
constexpr char kViewer[] = "viewer.example.org";

const std::vector<PeerRule>& Rules() {
  static const auto* const kRules = new std::vector<PeerRule>{
      {.san = kViewer, .role = Role::kViewer},
      {.san = kController, .role = Role::kController},
      {.san = "both", .role = Role::kOperator},
  };
  return *kRules;
}

TEST(ResolvePeer, FindsUrisAndDnsNames) {
  EXPECT_EQ(ResolvePeer({.uris = {kController}, .dns_names = {}}, Rules()).value(),
            (Peer{.name = kController, .role = Role::kController}));
  EXPECT_EQ(ResolvePeer({.uris = {}, .dns_names = {"other", kViewer}}, Rules()).value(),
            (Peer{.name = kViewer, .role = Role::kViewer}));
}

TEST(ResolvePeer, OfSeveralTheHighestRoleCounts) {
  EXPECT_EQ(ResolvePeer({.uris = {}, .dns_names = {kViewer, "both"}}, Rules()).value(),
            (Peer{.name = "both", .role = Role::kOperator}));
  EXPECT_EQ(ResolvePeer({.uris = {kController}, .dns_names = {kViewer}}, Rules())->role,
            Role::kController);
}

TEST(ResolvePeer, ComparesNamesAsAWhole) {
  for (const char* name :
       {"spiffe://example.org/postern/controller/x", "spiffe://example.org/postern",
        "SPIFFE://example.org/postern/controller", "sub.viewer.example.org", ""}) {
    EXPECT_TRUE(absl::IsUnauthenticated(
        ResolvePeer({.uris = {name}, .dns_names = {name}}, Rules()).status()))
        << name;
  }
}

TEST(ResolvePeer, TellsTheNamesAndTheWayOut) {
  const absl::Status status =
      ResolvePeer({.uris = {"spiffe://example.org/\x1b[2J"}, .dns_names = {}}, Rules()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("spiffe://example.org/\\x1b[2J"), HasSubstr("listen.peers"),
                    Not(HasSubstr("\x1b"))));
  EXPECT_THAT(std::string(ResolvePeer({}, Rules()).status().message()),
              HasSubstr("has no URI or DNS name"));
}

TEST(ResolvePeer, AMessageIsBoundedWhateverTheCertificateHolds) {
  const std::vector<std::string> many(1000, std::string(1000, 'x'));
  const absl::Status status = ResolvePeer({.uris = many, .dns_names = many}, Rules()).status();
  EXPECT_LT(status.message().size(), 1000U);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1996 more"));
}

TEST(CheckRole, EachRoleMayDoWhatTheOnesBeforeItMay) {
  const Role roles[] = {Role::kViewer, Role::kOperator, Role::kController};
  for (const Role has : roles) {
    for (const Role needs : roles) {
      const absl::Status status = CheckRole({.name = "peer", .role = has}, needs, "CreateGrant");
      EXPECT_EQ(status.ok(), has >= needs);
      if (status.ok()) continue;
      EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr("CreateGrant needs the role " + std::string(RoleName(needs))),
                        HasSubstr("peer is " + std::string(RoleName(has)))));
    }
  }
}

TEST(EndpointOfPeer, ReadsWhatGrpcWrites) {
  const struct {
    const char* peer;
    const char* address;
  } kPeers[] = {
      {"ipv4:203.0.113.7:50000", "203.0.113.7"},
      {"ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1"},
      {"ipv6:[2001:db8::1]:50000", "2001:db8::1"},
      {"ipv6:%5B::ffff:203.0.113.7%5D:50000", "203.0.113.7"},
      {"ipv6:%5Bfe80::1%252%5D:50000", "fe80::1"},
      {"ipv6:%5Bfe80::1%25eth0%5D:50000", "fe80::1"},
  };
  for (const auto& peer : kPeers) {
    const std::optional<Endpoint> endpoint = EndpointOfPeer(peer.peer);
    ASSERT_TRUE(endpoint.has_value()) << peer.peer;
    EXPECT_EQ(endpoint->address.ToString(), peer.address);
    EXPECT_EQ(endpoint->port, 50000);
  }
  for (const char* peer :
       {"", "unix:", "unix:/run/x", "ipv4:", "ipv4:x:1", "ipv4:203.0.113.7", "ipv6:%5B%5D:1",
        "203.0.113.7:1", "ipv4:203.0.113.7:65536", "ipv4:203.0.113.7:"}) {
    EXPECT_FALSE(EndpointOfPeer(peer).has_value()) << peer;
  }
}

}  // namespace
}  // namespace postern
