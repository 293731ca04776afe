// The kernel's notifications, as they were recorded (tests/golden/data/notify_*)
// and as they never should be.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/notifications.h"

namespace postern::nft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;

constexpr uint32_t kOwnPort = 7;

using Datagrams = std::vector<std::string>;

Datagrams Recorded(const std::string& name) {
  std::ifstream file(absl::StrCat(POSTERN_GOLDEN_DATA, "/notify_", name, ".txt"));
  Datagrams datagrams;
  std::string hex;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] == '#') continue;
    hex += line;
    if (line.empty() && !hex.empty()) {
      datagrams.push_back(absl::HexStringToBytes(hex));
      hex.clear();
    }
  }
  EXPECT_FALSE(datagrams.empty()) << name;
  return datagrams;
}

void Take(Notifications& notifications, const std::string& datagram) {
  // As the kernel gives them: aligned, and nothing beyond the end.
  const std::unique_ptr<uint32_t[]> aligned(new uint32_t[datagram.size() / 4 + 1]);
  std::memcpy(aligned.get(), datagram.data(), datagram.size());
  notifications.Take({reinterpret_cast<const char*>(aligned.get()), datagram.size()});
}

TableChange Heard(const Datagrams& datagrams, uint32_t own_port = kOwnPort) {
  Notifications notifications(own_port);
  for (const std::string& datagram : datagrams) Take(notifications, datagram);
  return notifications.Finish();
}

TEST(NftNotificationsTest, TellWhatChangedAndWho) {
  const std::pair<const char*, const char*> cases[] = {
      {"accept_in_front", "rule added to chain gate"},
      {"element_deleted", "element removed from set keep4_32"},
      {"chain_flushed", "rule deleted from chain gate"},
      {"flush_ruleset", "table deleted"},
  };
  for (const auto& [name, what] : cases) {
    const TableChange change = Heard(Recorded(name));
    EXPECT_THAT(change.what, ElementsAre(what)) << name;
    EXPECT_FALSE(change.more) << name;
    EXPECT_FALSE(change.lost) << name;
    EXPECT_THAT(change.who, ElementsAre(MatchesRegex("nft \\(pid [0-9]+\\)"))) << name;
  }
}

TEST(NftNotificationsTest, TablesOfOthersAreNotOurBusiness) {
  Notifications notifications(kOwnPort);
  for (const std::string& datagram : Recorded("other_table")) Take(notifications, datagram);
  EXPECT_TRUE(notifications.empty());
  EXPECT_FALSE(notifications.awaits_name());
}

TEST(NftNotificationsTest, OurOwnTransactionsAreLeftOut) {
  const Datagrams datagrams = Recorded("flush_ruleset");
  nlmsghdr header;
  std::memcpy(&header, datagrams[0].data(), sizeof header);
  EXPECT_EQ(Heard(datagrams, header.nlmsg_pid), TableChange());
}

TEST(NftNotificationsTest, TheNameComesLast) {
  const Datagrams datagrams = Recorded("accept_in_front");
  ASSERT_EQ(datagrams.size(), 2U);
  Notifications notifications(kOwnPort);
  Take(notifications, datagrams[0]);
  EXPECT_TRUE(notifications.awaits_name());
  Take(notifications, datagrams[1]);
  EXPECT_FALSE(notifications.awaits_name());
  EXPECT_FALSE(notifications.empty());
  EXPECT_THAT(notifications.Finish().who, testing::SizeIs(1));
  EXPECT_TRUE(notifications.empty());
}

TEST(NftNotificationsTest, ALossIsTold) {
  Notifications notifications(kOwnPort);
  notifications.TakeLoss();
  EXPECT_FALSE(notifications.empty());
  const TableChange change = notifications.Finish();
  EXPECT_TRUE(change.lost);
  EXPECT_THAT(change.what, IsEmpty());
}

TEST(NftNotificationsTest, WhatIsKeptIsBounded) {
  TableChange change;
  for (int i = 0; i < 1000; ++i) {
    change.AddWhat(absl::StrCat("chain ", i, " deleted"));
    change.AddWho(absl::StrCat("nft (pid ", i, ")"));
  }
  EXPECT_EQ(change.what.size(), TableChange::kMostWhat);
  EXPECT_EQ(change.who.size(), TableChange::kMostWho);
  EXPECT_EQ(change.ToString(),
            "chain 0 deleted, chain 1 deleted, chain 2 deleted, chain 3 deleted and more, by nft "
            "(pid 0), nft (pid 1), nft (pid 2)");
}

TEST(NftNotificationsTest, AForeignNameCannotForgeALine) {
  Datagrams datagrams = Recorded("accept_in_front");
  const size_t at = datagrams[0].find("gate");
  ASSERT_NE(at, std::string::npos);
  datagrams[0][at] = '\n';
  EXPECT_THAT(Heard(datagrams).what, ElementsAre("rule added to chain \\x0aate"));
}

TEST(NftNotificationsTest, NoBytesAreBelievedBeyondTheirEnd) {
  std::mt19937 random(1);
  for (const char* name :
       {"accept_in_front", "element_deleted", "chain_flushed", "flush_ruleset"}) {
    for (const std::string& datagram : Recorded(name)) {
      for (size_t size = 0; size < datagram.size(); ++size) Heard({datagram.substr(0, size)});
      for (int i = 0; i < 2000; ++i) {
        std::string damaged = datagram;
        for (int j = 0; j < 3; ++j) {
          damaged[random() % damaged.size()] = static_cast<char>(random());
        }
        EXPECT_LE(Heard({damaged}).what.size(), TableChange::kMostWhat);
      }
    }
  }
}

}  // namespace
}  // namespace postern::nft
