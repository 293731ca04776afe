#include "agent/grants/grant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/grants.h"

namespace postern {
namespace {

using ::testing::ElementsAre;

TEST(KeysOfTest, IsEverySourceWithEveryPortAndProtocolOnce) {
  Grant grant;
  grant.sources = {P("203.0.113.7"), P("203.0.113.7"), P("2001:db8::/64")};
  grant.ports = {Any(22), Tcp(22), Udp(3389)};
  EXPECT_THAT(KeysOf(grant),
              ElementsAre(Key("203.0.113.7", 22), Key("203.0.113.7", 22, Protocol::kUdp),
                          Key("203.0.113.7", 3389, Protocol::kUdp), Key("2001:db8::/64", 22),
                          Key("2001:db8::/64", 22, Protocol::kUdp),
                          Key("2001:db8::/64", 3389, Protocol::kUdp)));
}

TEST(RequestFingerprintTest, IgnoresTheIdAndTheOrderOfLists) {
  GrantRequest request = Request(1);
  request.sources = {P("203.0.113.7"), P("198.51.100.0/24")};
  GrantRequest same = request;
  same.id = Id(2);
  same.sources = {P("198.51.100.0/24"), P("203.0.113.7")};
  EXPECT_EQ(RequestFingerprint(request), RequestFingerprint(same));
}

TEST(RequestFingerprintTest, TellsEveryFieldApart) {
  const GrantRequest request = Request(1);
  std::vector<GrantRequest> others(8, request);
  others[0].sources = {P("203.0.113.8")};
  others[1].ports = {Udp(22)};
  others[2].duration += absl::Nanoseconds(1);
  others[3].not_after = absl::UnixEpoch();
  others[4].requestor = "bob";
  others[5].justification = "";
  others[6].on_expiry = OnExpiry::kKeep;
  // The same letters on the other side of a field's border.
  others[7].requestor = "alicedeploy";
  others[7].justification = " 142";
  for (const GrantRequest& other : others) {
    EXPECT_NE(RequestFingerprint(request), RequestFingerprint(other));
  }
}

}  // namespace
}  // namespace postern
