#include "agent/rpc/streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace postern {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr StreamLimits kLimits = {.total = 3, .per_peer = 2, .without_role = 2};

class StreamTableTest : public testing::Test {
 protected:
  // Whether `peer` got a place, which it keeps.
  absl::Status Take(const std::string& peer) {
    auto place = table_.Take(peer);
    if (place.ok()) places_.push_back(*std::move(place));
    return place.status();
  }

  StreamTable table_{kLimits};
  std::vector<std::unique_ptr<StreamTable::Place>> places_;
};

TEST_F(StreamTableTest, OnePeerLeavesRoomForOthers) {
  ASSERT_TRUE(Take("viewer").ok());
  ASSERT_TRUE(Take("viewer").ok());
  const absl::Status refused = Take("viewer");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("viewer has 2 streams"), HasSubstr("the most for one peer")));
  EXPECT_TRUE(Take("other").ok());
}

TEST_F(StreamTableTest, AllPeersTogetherAreBounded) {
  for (const char* peer : {"a", "b", "c"}) ASSERT_TRUE(Take(peer).ok());
  const absl::Status refused = Take("d");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("3 streams"), HasSubstr("the most for all peers together")));
}

TEST_F(StreamTableTest, PeersWithoutARoleAreCountedApart) {
  ASSERT_TRUE(Take("").ok());
  ASSERT_TRUE(Take("").ok());
  const absl::Status refused = Take("");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr("2 streams of peers without a role"));
  for (const char* peer : {"a", "b", "c"}) EXPECT_TRUE(Take(peer).ok());
}

TEST_F(StreamTableTest, WhoGoesLeavesItsPlace) {
  for (const char* peer : {"", "", "a", "a", "b"}) ASSERT_TRUE(Take(peer).ok());
  places_.clear();
  for (const char* peer : {"", "", "a", "a", "b"}) EXPECT_TRUE(Take(peer).ok()) << peer;
}

}  // namespace
}  // namespace postern
