#include "agent/rpc/connections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "common/fd.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Admission = ConnectionTable::Admission;

// A connection, as the agent accepted it, and its other end.
struct Pair {
  Pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    near = Fd(ends[0]);
    far = Fd(ends[1]);
  }
  // Whether the agent told it to end.
  bool ended() const {
    char byte = 0;
    return recv(far.get(), &byte, 1, MSG_PEEK) == 0;
  }

  Fd near;
  Fd far;
};

Endpoint At(const char* address, uint16_t port) { return {*Address::Parse(address), port}; }

const Endpoint kHere = At("192.0.2.1", 1);
const Endpoint kAlsoHere = At("192.0.2.1", 2);
const Endpoint kThere = At("2001:db8::1", 3);
const Endpoint kNextDoor = At("2001:db8::2", 4);
const Endpoint kElsewhere = At("198.51.100.1", 5);

class ConnectionTableTest : public testing::Test {
 protected:
  Admission Admit(ConnectionTable& table, int connection, const std::optional<Endpoint>& peer) {
    return table.Admit(pairs_[static_cast<size_t>(connection)].near.get(), peer);
  }
  // The connections that were told to end, and are closed now as gRPC would.
  std::vector<int> Ended() {
    std::vector<int> ended;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      if (pairs_[i].near.get() < 0 || !pairs_[i].ended()) continue;
      ended.push_back(static_cast<int>(i));
      pairs_[i].near.Reset();
    }
    return ended;
  }

  std::array<Pair, 6> pairs_;
};

TEST_F(ConnectionTableTest, TheOldestMakesRoomWhenThereAreTooMany) {
  ConnectionTable table({.total = 2, .per_source = 2});
  EXPECT_EQ(Admit(table, 0, std::nullopt), Admission::kAdmitted);
  EXPECT_EQ(Admit(table, 1, std::nullopt), Admission::kAdmitted);
  EXPECT_EQ(Admit(table, 2, std::nullopt), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(0));
  EXPECT_EQ(table.CountLive(), 2U);
}

TEST_F(ConnectionTableTest, EachSourceMakesItsOwnRoom) {
  ConnectionTable table({.total = 10, .per_source = 1});
  Admit(table, 0, kThere);
  Admit(table, 1, kHere);
  EXPECT_EQ(Admit(table, 2, kAlsoHere), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(1));
  // A /64 is one source.
  EXPECT_EQ(Admit(table, 3, kNextDoor), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(0));
  EXPECT_EQ(Admit(table, 4, kElsewhere), Admission::kAdmitted);
}

TEST_F(ConnectionTableTest, TheSourceWithMostStrangersMakesRoomForAnother) {
  ConnectionTable table({.total = 3, .per_source = 3});
  Admit(table, 0, kElsewhere);
  Admit(table, 1, kHere);
  Admit(table, 2, kAlsoHere);
  EXPECT_EQ(Admit(table, 3, kThere), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(1));
}

TEST_F(ConnectionTableTest, WhoeverMadeAnAuthenticatedCallStaysBeforeStrangers) {
  ConnectionTable table({.total = 3, .per_source = 3});
  Admit(table, 0, kHere);
  Admit(table, 1, kAlsoHere);
  Admit(table, 2, kElsewhere);
  { const ConnectionTable::Call call(table, kHere); }
  { const ConnectionTable::Call call(table, kAlsoHere); }
  EXPECT_EQ(Admit(table, 3, kThere), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(2));
  // Among these the one whose call is longest ago goes.
  { const ConnectionTable::Call call(table, kThere); }
  { const ConnectionTable::Call call(table, kHere); }
  EXPECT_EQ(Admit(table, 4, kElsewhere), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(1));
}

TEST_F(ConnectionTableTest, AnOpenCallKeepsItsConnection) {
  ConnectionTable table({.total = 2, .per_source = 2});
  Admit(table, 0, kHere);
  Admit(table, 1, kThere);
  const ConnectionTable::Call one(table, kHere);
  std::optional<ConnectionTable::Call> two(std::in_place, table, kThere);
  EXPECT_EQ(Admit(table, 2, kElsewhere), Admission::kRefused);
  EXPECT_THAT(Ended(), IsEmpty());
  two.reset();
  EXPECT_EQ(Admit(table, 2, kElsewhere), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(1));
}

TEST_F(ConnectionTableTest, WhatIsNotClosedYetIsBoundedToo) {
  ConnectionTable table({.total = 1, .per_source = 1});
  std::vector<Pair> many(200);
  int admitted = 0;
  for (const Pair& pair : many) {
    admitted += table.Admit(pair.near.get(), kHere) != Admission::kRefused ? 1 : 0;
  }
  EXPECT_EQ(admitted, 129);
  EXPECT_EQ(table.CountLive(), 129U);
}

TEST_F(ConnectionTableTest, ForgetsWhatSomebodyElseClosed) {
  ConnectionTable table({.total = 1, .per_source = 1});
  Admit(table, 0, kHere);
  pairs_[0].near.Reset();
  EXPECT_EQ(Admit(table, 1, kHere), Admission::kAdmitted);
  EXPECT_EQ(table.CountLive(), 1U);
}

TEST_F(ConnectionTableTest, ADescriptorThatIsUsedAgainIsNotTheOldConnection) {
  ConnectionTable table({.total = 5, .per_source = 5});
  const int number = pairs_[0].near.get();
  Admit(table, 0, kHere);
  pairs_[0].near.Reset();
  pairs_[0].near = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(pairs_[0].near.get(), number);
  EXPECT_EQ(table.CountLive(), 0U);
  EXPECT_EQ(Admit(table, 0, kThere), Admission::kAdmitted);
  EXPECT_EQ(table.CountLive(), 1U);
}

TEST_F(ConnectionTableTest, ACallEndsForTheConnectionItCameOn) {
  ConnectionTable table({.total = 2, .per_source = 2});
  Admit(table, 0, kHere);
  std::optional<ConnectionTable::Call> of_the_old(std::in_place, table, kHere);
  pairs_[0].near.Reset();
  // The client's next connection is from the same port.
  Admit(table, 1, kHere);
  of_the_old.reset();
  const ConnectionTable::Call of_the_new(table, kHere);
  Admit(table, 2, kAlsoHere);
  EXPECT_EQ(Admit(table, 3, kElsewhere), Admission::kInPlaceOfAnother);
  EXPECT_THAT(Ended(), ElementsAre(2));
}

TEST_F(ConnectionTableTest, AClosedDescriptorIsNoConnection) {
  ConnectionTable table({.total = 5, .per_source = 5});
  EXPECT_EQ(table.Admit(-1, kHere), Admission::kRefused);
}

}  // namespace
}  // namespace postern
