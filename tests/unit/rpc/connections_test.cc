#include "agent/rpc/connections.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <vector>

#include "agent/rpc/sockets.h"

namespace postern {
namespace {

Fd NewSocket() { return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

const std::optional<Address> kHere = *Address::Parse("192.0.2.1");
const std::optional<Address> kThere = *Address::Parse("2001:db8::1");

TEST(ConnectionTable, BoundsTheTotal) {
  ConnectionTable table({.total = 2, .per_source = 2});
  const Fd a = NewSocket();
  const Fd b = NewSocket();
  const Fd c = NewSocket();
  EXPECT_TRUE(table.Admit(a.get(), std::nullopt));
  EXPECT_TRUE(table.Admit(b.get(), std::nullopt));
  EXPECT_FALSE(table.Admit(c.get(), std::nullopt));
  EXPECT_EQ(table.CountLive(), 2U);
}

TEST(ConnectionTable, BoundsEachSource) {
  ConnectionTable table({.total = 10, .per_source = 1});
  const Fd a = NewSocket();
  const Fd b = NewSocket();
  EXPECT_TRUE(table.Admit(a.get(), kHere));
  EXPECT_FALSE(table.Admit(b.get(), kHere));
  EXPECT_TRUE(table.Admit(b.get(), kThere));
}

TEST(ConnectionTable, ForgetsWhatSomebodyElseClosed) {
  ConnectionTable table({.total = 1, .per_source = 1});
  Fd a = NewSocket();
  const Fd b = NewSocket();
  ASSERT_TRUE(table.Admit(a.get(), kHere));
  ASSERT_FALSE(table.Admit(b.get(), kHere));
  a.Reset();
  EXPECT_TRUE(table.Admit(b.get(), kHere));
  EXPECT_EQ(table.CountLive(), 1U);
}

TEST(ConnectionTable, ADescriptorThatIsUsedAgainIsNotTheOldConnection) {
  ConnectionTable table({.total = 5, .per_source = 5});
  Fd a = NewSocket();
  const int number = a.get();
  ASSERT_TRUE(table.Admit(number, kHere));
  a.Reset();
  a = NewSocket();
  ASSERT_EQ(a.get(), number);
  EXPECT_EQ(table.CountLive(), 0U);
  EXPECT_TRUE(table.Admit(number, kThere));
  EXPECT_EQ(table.CountLive(), 1U);
}

TEST(ConnectionTable, AClosedDescriptorIsNoConnection) {
  ConnectionTable table({.total = 5, .per_source = 5});
  EXPECT_FALSE(table.Admit(-1, kHere));
}

}  // namespace
}  // namespace postern
