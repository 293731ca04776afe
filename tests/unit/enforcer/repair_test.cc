// The gatekeeper under other programs' hands.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/repair_log.h"
#include "agent/firewall/builder.h"
#include "tests/unit/enforcer/gate.h"

namespace postern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const SetId kKeep32 = {Family::kIpv4, 32, Admission::kKeep};

class RepairTest : public GateTest {
 protected:
  TableChange Change(std::string what) const {
    TableChange change;
    change.AddWhat(std::move(what));
    change.AddWho("nft (pid 4711)");
    change.noticed = clock_.Read().boot;
    return change;
  }
  void Hear(std::string what) { gatekeeper_->OnTableChanged(Change(std::move(what))); }
  GateRepairs Repairs() {
    const auto status = gatekeeper_->Status();
    EXPECT_TRUE(status.ok()) << status.status();
    return status.ok() ? status->repairs : GateRepairs();
  }
  std::vector<std::string> RepairLines() const {
    std::vector<std::string> lines;
    for (const AuditEvent& event : store_.audit()) {
      if (event.kind == AuditKind::kFirewallRepaired) lines.push_back(event.detail);
    }
    return lines;
  }
  // The firewall holds exactly what the ledger derives.
  void ExpectAsBuilt(size_t elements) {
    ASSERT_TRUE(firewall_.table().has_value());
    FakeFirewall fresh(clock_);
    ASSERT_TRUE(fresh.Commit(BuildTable(options_.gate, {kKeep32}, {})).ok());
    EXPECT_EQ(firewall_.table()->rules, fresh.table()->rules);
    EXPECT_EQ(firewall_.table()->chains, fresh.table()->chains);
    EXPECT_THAT(firewall_.table()->sets.at(kKeep32), SizeIs(elements));
  }
};

TEST_F(RepairTest, ADeletedTableIsMadeAnewWithItsGrants) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.DeleteTable();
  Hear("table deleted");
  ExpectAsBuilt(1);
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));
}

TEST_F(RepairTest, WhateverChangedIsUndoneInOneBatch) {
  ASSERT_TRUE(Create(1).ok());
  const AccessKey stranger = Key("198.51.100.9", 22);
  FakeTable& table = firewall_.Tamper();
  table.rules.insert(table.rules.begin(), Rule{.chain = "gate", .expressions = {Accept{}}});
  table.chains.insert("theirs");
  table.sets[kKeep32].clear();
  table.sets[kKeep32][stranger].end = clock_.Read().boot + absl::Hours(1);
  ASSERT_TRUE(Admits("198.51.100.9"));
  const int commits = firewall_.commits();
  Hear("rule added to chain gate");
  EXPECT_EQ(firewall_.commits(), commits + 1);
  ExpectAsBuilt(1);
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_FALSE(Admits("198.51.100.9"));
}

TEST_F(RepairTest, ARepairIsCountedRecordedAndAnnounced) {
  firewall_.DeleteTable();
  const TableChange change = Change("table deleted");
  clock_.Advance(absl::Milliseconds(3));
  gatekeeper_->OnTableChanged(change);
  EXPECT_THAT(RepairLines(), ElementsAre("table deleted, by nft (pid 4711); repaired within 3ms"));
  EXPECT_EQ(announced_.back().kind, AuditKind::kFirewallRepaired);
  const GateRepairs repairs = Repairs();
  EXPECT_EQ(repairs.count, 1U);
  EXPECT_EQ(repairs.last, clock_.Read().wall);
  EXPECT_EQ(repairs.last_took, absl::Milliseconds(3));
  EXPECT_EQ(repairs.longest_took, absl::Milliseconds(3));
  EXPECT_EQ(repairs.last_detail, "table deleted, by nft (pid 4711)");
}

TEST_F(RepairTest, ARepairThatFailsIsTriedAgain) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.DeleteTable();
  firewall_.FailCommits(absl::UnavailableError("no"));
  Hear("table deleted");
  EXPECT_FALSE(firewall_.table().has_value());
  EXPECT_THAT(reported_, SizeIs(1));
  EXPECT_THAT(RepairLines(), IsEmpty());
  ASSERT_TRUE(gatekeeper_->NextAlarm().has_value());
  EXPECT_LE(*gatekeeper_->NextAlarm(), clock_.Read().boot + absl::Seconds(1));
  firewall_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  ExpectAsBuilt(1);
  EXPECT_EQ(Repairs().count, 1U);
  EXPECT_EQ(Repairs().last_took, absl::Seconds(1));
  EXPECT_THAT(RepairLines(), SizeIs(1));
}

TEST_F(RepairTest, UntilItIsRepairedStatusAnswersAndCheckDoesNotLie) {
  firewall_.DeleteTable();
  firewall_.FailCommits(absl::UnavailableError("no"));
  Hear("table deleted");
  const auto status = gatekeeper_->Status();
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_THAT(status->warnings, ElementsAre(HasSubstr("could not be repaired yet")));
  const AccessAnswer open = gatekeeper_->Check(A("198.51.100.9"), Protocol::kTcp, 22);
  EXPECT_TRUE(open.allowed);
  EXPECT_THAT(open.reason, HasSubstr("nothing is guarded"));
  firewall_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_FALSE(gatekeeper_->Check(A("198.51.100.9"), Protocol::kTcp, 22).allowed);
  EXPECT_THAT(gatekeeper_->Status()->warnings, IsEmpty());
}

TEST_F(RepairTest, AChangeToAGrantThatFindsNoTableMakesOne) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.DeleteTable();
  EXPECT_TRUE(Create(2, "203.0.113.8", absl::Hours(1)).ok());
  ExpectAsBuilt(2);
}

TEST_F(RepairTest, UsageAndDropsThatWereReadAreKept) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.Use(kKeep32, Key("203.0.113.7", 22), {.packets = 5, .bytes = 300});
  firewall_.Tamper().counters[kDroppedCounter] = {.packets = 9, .bytes = 540};
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 5U);
  EXPECT_EQ(gatekeeper_->Status()->dropped.packets, 9U);
  firewall_.DeleteTable();
  Hear("table deleted");
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 5U);
  EXPECT_EQ(gatekeeper_->Status()->dropped.packets, 9U);
  firewall_.Use(kKeep32, Key("203.0.113.7", 22), {.packets = 1, .bytes = 60});
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 6U);
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.bytes, 360U);
}

TEST_F(RepairTest, WhatATamperedTableStillCountsIsRead) {
  ASSERT_TRUE(Create(1).ok());
  firewall_.Use(kKeep32, Key("203.0.113.7", 22), {.packets = 5, .bytes = 300});
  Hear("chain theirs added or changed");
  EXPECT_EQ(gatekeeper_->Get(Id(1))->usage.packets, 5U);
}

TEST_F(RepairTest, ConnectionsOlderThanTheGateStayOlder) {
  firewall_.DeleteTable();
  const Flow older = {
      .remote = A("198.51.100.1"), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
  sessions_.live = {older};
  Restart();
  firewall_.DeleteTable();
  Hear("table deleted");
  EXPECT_THAT(*firewall_.ReadOlderFlows(), ElementsAre(older));
}

TEST_F(RepairTest, LostNotificationsMatterOnlyWhereOthersCanChangeTheTable) {
  TableChange lost;
  lost.lost = true;
  lost.noticed = clock_.Read().boot;
  firewall_.Protect(true);
  const int commits = firewall_.commits();
  gatekeeper_->OnTableChanged(lost);
  EXPECT_EQ(firewall_.commits(), commits);
  EXPECT_EQ(Repairs().count, 0U);
  EXPECT_TRUE(gatekeeper_->Status()->table_protected);
  firewall_.Protect(false);
  gatekeeper_->OnTableChanged(lost);
  EXPECT_EQ(firewall_.commits(), commits + 1);
  EXPECT_EQ(Repairs().last_detail, "notifications were lost");
  EXPECT_FALSE(gatekeeper_->Status()->table_protected);
}

TEST_F(RepairTest, ALineThatCannotBeRecordedWaits) {
  firewall_.DeleteTable();
  store_.FailCommits(absl::ResourceExhaustedError("full"));
  Hear("table deleted");
  EXPECT_TRUE(firewall_.table().has_value());
  EXPECT_THAT(RepairLines(), IsEmpty());
  store_.FailCommits(absl::OkStatus());
  Pass(absl::Seconds(1));
  EXPECT_THAT(RepairLines(), SizeIs(1));
}

// Somebody deletes the table as soon as it stands, for three minutes.
TEST_F(RepairTest, AFightIsPacedAndFillsNoDisk) {
  ASSERT_TRUE(Create(1).ok());
  constexpr absl::Duration kRound = absl::Milliseconds(1);
  constexpr int kRounds = 180'000;
  absl::Duration open;
  absl::Duration longest_open;
  for (int i = 0; i < kRounds; ++i) {
    if (firewall_.table().has_value()) {
      firewall_.DeleteTable();
      Hear("table deleted");
      open = absl::ZeroDuration();
    }
    Pass(kRound);
    if (!firewall_.table().has_value()) open += kRound;
    longest_open = std::max(longest_open, open);
  }
  EXPECT_LE(longest_open, absl::Milliseconds(10));
  const uint64_t count = Repairs().count;
  EXPECT_GE(count, 15'000U);
  EXPECT_LE(count, 18'100U);
  EXPECT_LE(RepairLines().size(), 20U);
  // Every repair stands in some line.
  gatekeeper_->Stop();
  uint64_t told = 0;
  for (const std::string& line : RepairLines()) {
    const size_t times = line.find(" times");
    told += times == std::string::npos ? 1 : std::stoull(line.substr(0, times));
  }
  EXPECT_EQ(told, Repairs().count);
}

TEST_F(RepairTest, AfterACalmEachRepairHasItsLineAtOnce) {
  for (int i = 1; i <= 30; ++i) {
    firewall_.DeleteTable();
    Hear("table deleted");
    EXPECT_TRUE(firewall_.table().has_value());
    EXPECT_THAT(RepairLines(), SizeIs(i));
    Pass(absl::Minutes(5));
  }
}

TEST(RepairLogTest, WhatCameMeanwhileIsMerged) {
  const BootTime start(absl::Seconds(100));
  RepairLog log;
  TableChange first;
  first.AddWhat("rule added to chain gate");
  first.AddWho("iptables (pid 1)");
  first.noticed = start;
  TableChange second;
  second.AddWhat("table deleted");
  second.AddWho("nft (pid 2)");
  second.noticed = start + absl::Seconds(1);
  log.Notice(first);
  log.Notice(second);
  log.TakeRepair(start, Now{.boot = start + absl::Seconds(2), .wall = absl::UnixEpoch()});
  EXPECT_FALSE(log.is_pending());
  EXPECT_EQ(log.repairs().last_took, absl::Seconds(2));
  EXPECT_EQ(log.repairs().last_detail,
            "rule added to chain gate, table deleted, by iptables (pid 1), nft (pid 2)");
}

}  // namespace
}  // namespace postern
