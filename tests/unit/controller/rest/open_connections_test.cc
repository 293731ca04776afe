#include "controller/rest/open_connections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "controller/limits/network.h"
#include "controller/rest/http.h"

namespace postern::controller {
namespace {

using testing::ElementsAre;
using Time = std::chrono::steady_clock::time_point;

class FakeConnection final : public OpenConnection {
 public:
  FakeConnection(std::string network, bool idle, int since)
      : network_(std::move(network)), idle_(idle), since_(std::chrono::seconds(since)) {}

  const std::string& network() const override { return network_; }
  bool idle() const override { return idle_; }
  Time idle_since() const override { return since_; }
  void Close() override { closed_ = true; }
  bool closed() const { return closed_; }

 private:
  const std::string network_;
  const bool idle_;
  const Time since_;
  bool closed_ = false;
};

class OpenConnectionsTest : public testing::Test {
 protected:
  void Open(const std::string& network, bool idle, int since) {
    open_.push_back(std::make_shared<FakeConnection>(network, idle, since));
    connections_.Add(open_.back());
  }
  std::vector<int> Closed() const {
    std::vector<int> closed;
    for (size_t i = 0; i < open_.size(); ++i) {
      if (open_[i]->closed()) closed.push_back(static_cast<int>(i));
    }
    return closed;
  }

  OpenConnections connections_{4, 2};
  std::vector<std::shared_ptr<FakeConnection>> open_;
};

TEST_F(OpenConnectionsTest, TheOneThatIsIdleForLongestMakesRoom) {
  Open("a", true, 9);
  Open("b", false, 1);
  Open("c", true, 5);
  Open("d", true, 7);
  EXPECT_TRUE(connections_.MakeRoom("e"));
  EXPECT_THAT(Closed(), ElementsAre(2));
  EXPECT_TRUE(connections_.MakeRoom("e"));
  EXPECT_THAT(Closed(), ElementsAre(2));
}

TEST_F(OpenConnectionsTest, ANetworkMakesRoomForItsOwn) {
  Open("a", true, 1);
  Open("b", true, 5);
  Open("b", true, 3);
  EXPECT_TRUE(connections_.MakeRoom("b"));
  EXPECT_THAT(Closed(), ElementsAre(2));
}

TEST_F(OpenConnectionsTest, ThoseAtWorkAreNotClosed) {
  Open("a", true, 1);
  Open("b", false, 1);
  Open("b", false, 1);
  EXPECT_FALSE(connections_.MakeRoom("b"));
  Open("c", false, 1);
  open_.erase(open_.begin());
  Open("d", false, 1);
  EXPECT_FALSE(connections_.MakeRoom("e"));
  EXPECT_THAT(Closed(), ElementsAre());
}

TEST_F(OpenConnectionsTest, ThoseThatAreGoneAreNotCounted) {
  for (int i = 0; i < 4; ++i) Open("a", false, 1);
  open_.clear();
  EXPECT_TRUE(connections_.MakeRoom("a"));
}

TEST(NetworkOfTest, OneHostIsOne) {
  const auto network = [](const char* text) { return NetworkOf(*Address::Parse(text)); };
  EXPECT_EQ(network("203.0.113.7"), "203.0.113.7");
  EXPECT_EQ(network("::ffff:203.0.113.7"), "203.0.113.7");
  EXPECT_EQ(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::1"));
  EXPECT_NE(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
  EXPECT_EQ(NetworkOf(std::nullopt), "");
}

}  // namespace
}  // namespace postern::controller
