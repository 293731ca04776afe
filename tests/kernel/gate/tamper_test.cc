// The gate's table under the hands of other programs: where the kernel protects
// it, and where it does not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/socket.h"
#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kLong = absl::Minutes(10);

class TamperTest : public GateWorld {
 protected:
  // A gate with one grant, for the friend.
  void StartWithGrant(bool protect) {
    protect_ = protect;
    StartGate();
    Allow(1, kFriend4, Tcp(22), kLong);
  }

  // The grant lets the friend in, and nobody else.
  void ExpectGuarded() {
    EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
    EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
    EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger6, 22));
    EXPECT_FALSE(TcpPasses(*friend_, kHost4, 3389));
    EXPECT_FALSE(UdpPasses(*stranger_, kHostToStranger4, 3389));
  }

  GateRepairs Repairs() {
    const auto status = gatekeeper_->Status();
    EXPECT_TRUE(status.ok()) << status.status();
    return status.ok() ? status->repairs : GateRepairs();
  }
  bool IsProtected() {
    const auto status = gatekeeper_->Status();
    EXPECT_TRUE(status.ok()) << status.status();
    return status.ok() && status->table_protected;
  }
  std::vector<std::string> RepairLines() {
    std::vector<std::string> lines;
    const auto audit = gatekeeper_->Audit(0, absl::InfinitePast(), 100'000);
    EXPECT_TRUE(audit.ok()) << audit.status();
    if (!audit.ok()) return lines;
    for (const AuditEvent& event : *audit) {
      if (event.kind == AuditKind::kFirewallRepaired) lines.push_back(event.detail);
    }
    return lines;
  }

  // Where the kernel has no flag `persist` there is nothing to test here.
  void RequireProtection() {
    protect_ = true;
    StartGate();
    if (!firewall_->capabilities().protects_tables) {
      GTEST_SKIP() << "this kernel does not protect tables (Linux 6.9 does)";
    }
    KillGate();
    Nft(*host_, "flush ruleset");
  }
};

// Deletes the table as another process would, and quickly.
class Deleter {
 public:
  explicit Deleter(const Namespace& where) {
    where.Run([&] { socket_ = *nft::Socket::Open(); });
  }

  // Whether there was one.
  bool Delete() {
    nft::Batch batch;
    batch.Begin(socket_->next_sequence());
    nlmsghdr* message = batch.Add(NFT_MSG_DELTABLE, 0, 0, 64);
    mnl_attr_put_strz(message, NFTA_TABLE_NAME, kTableName);
    batch.End();
    socket_->TakeSequences(static_cast<uint32_t>(batch.size()) + 2);
    const auto refused = socket_->Transact(batch);
    EXPECT_TRUE(refused.ok()) << refused.status();
    return refused.ok() && !refused->has_value();
  }

 private:
  std::unique_ptr<nft::Socket> socket_;
};

// ---- Where the kernel protects the table ----

TEST_F(TamperTest, AProtectedTableIsOutOfReach) {
  RequireProtection();
  if (IsSkipped()) return;
  StartWithGrant(/*protect=*/true);
  EXPECT_TRUE(IsProtected());
  for (const char* attempt :
       {"delete table inet postern", "insert rule inet postern gate accept",
        "flush chain inet postern gate", "flush set inet postern keep4_32",
        "delete element inet postern keep4_32 { 192.0.2.7 . tcp . 22 }",
        "add element inet postern keep4_32 { 198.51.100.9 . tcp . 22 timeout 1h }",
        "add chain inet postern theirs", "add table inet postern { flags dormant; }"}) {
    EXPECT_FALSE(host_->Program({"nft", attempt}).ok()) << attempt;
  }
  Nft(*host_, "flush ruleset");
  EXPECT_FALSE(HearOfTable());
  ExpectGuarded();
  EXPECT_EQ(Repairs().count, 0U);
  // Everybody may read it.
  Nft(*host_, "list table inet postern");
  Nft(*host_, "list set inet postern keep4_32");
  Nft(*host_, "list counters");
}

TEST_F(TamperTest, ACrashedDaemonsTableIsAdopted) {
  RequireProtection();
  if (IsSkipped()) return;
  StartWithGrant(/*protect=*/true);
  KillGate();
  ExpectGuarded();
  StartGate();
  EXPECT_TRUE(IsProtected());
  ExpectGuarded();
  EXPECT_FALSE(host_->Program({"nft", "delete table inet postern"}).ok());
}

TEST_F(TamperTest, ATableOfAVersionWithoutProtectionIsReplacedByOneWith) {
  RequireProtection();
  if (IsSkipped()) return;
  StartWithGrant(/*protect=*/false);
  EXPECT_FALSE(IsProtected());
  KillGate();
  protect_ = true;
  StartGate();
  EXPECT_TRUE(IsProtected());
  ExpectGuarded();
  // And back.
  KillGate();
  protect_ = false;
  StartGate();
  EXPECT_FALSE(IsProtected());
  ExpectGuarded();
}

TEST_F(TamperTest, AGateThatIsClosedWithoutADaemonStays) {
  RequireProtection();
  if (IsSkipped()) return;
  StartWithGrant(/*protect=*/true);
  Deleter deleter(*host_);
  gatekeeper_.reset();
  EXPECT_FALSE(deleter.Delete());
  KillGate();
  EXPECT_TRUE(deleter.Delete());
  host_->Run([&] {
    auto firewall = NftFirewall::Open();
    auto sessions = KernelSessions::Open();
    ASSERT_TRUE(firewall.ok() && sessions.ok());
    EXPECT_EQ(CloseGate(**firewall, **sessions, options_.gate).status(), absl::OkStatus());
    EXPECT_EQ(*(*firewall)->OwnsTable(), true);
  });
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
  StartGate();
  EXPECT_TRUE(IsProtected());
  ExpectGuarded();
}

TEST_F(TamperTest, LostNotificationsDoNotMatterToAProtectedTable) {
  RequireProtection();
  if (IsSkipped()) return;
  StartWithGrant(/*protect=*/true);
  host_->Run([&] { watcher_ = *nft::Watcher::Open(firewall_->port(), /*receive_bytes=*/1); });
  for (int i = 0; i < 50; ++i) Nft(*host_, absl::StrCat("add table ip other", i));
  EXPECT_TRUE(HearOfTable());
  EXPECT_EQ(Repairs().count, 0U);
}

// ---- Anywhere ----

TEST_F(TamperTest, ACrashAndAFlushAreHealedByTheNextStart) {
  StartWithGrant(/*protect=*/true);
  KillGate();
  Nft(*host_, "flush ruleset");
  EXPECT_TRUE(TcpPasses(*stranger_, kHostToStranger4, 22));
  StartGate();
  ExpectGuarded();
}

TEST_F(TamperTest, OurOwnChangesAndOthersTablesCostNothing) {
  StartWithGrant(/*protect=*/false);
  Extend(1, absl::Minutes(1));
  Revoke(1);
  pollfd wait = {.fd = watcher_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, 0), 0);
  Nft(*host_, "add table ip other");
  EXPECT_FALSE(HearOfTable());
  EXPECT_EQ(poll(&wait, 1, 0), 0);
  EXPECT_EQ(Repairs().count, 0U);
}

// ---- Where the kernel does not ----

struct Attack {
  const char* script;
  // What the audit says of it.
  const char* told;
};

class UnprotectedTableTest : public TamperTest, public testing::WithParamInterface<Attack> {};

TEST_P(UnprotectedTableTest, IsRepaired) {
  StartWithGrant(/*protect=*/false);
  Nft(*host_, GetParam().script);
  ASSERT_TRUE(HearOfTable(kLongPatience));
  ExpectGuarded();
  const GateRepairs repairs = Repairs();
  EXPECT_EQ(repairs.count, 1U);
  EXPECT_THAT(repairs.last_detail, HasSubstr(GetParam().told));
  EXPECT_THAT(repairs.last_detail, HasSubstr(", by nft (pid "));
  EXPECT_GT(repairs.last_took, absl::ZeroDuration());
  EXPECT_THAT(RepairLines(), testing::ElementsAre(HasSubstr(GetParam().told)));
  // The repair itself is no change to repair.
  EXPECT_FALSE(HearOfTable());
}

INSTANTIATE_TEST_SUITE_P(
    Attacks, UnprotectedTableTest,
    testing::Values(Attack{"flush ruleset", "table deleted"},
                    Attack{"delete table inet postern", "table deleted"},
                    Attack{"flush table inet postern", "rule deleted from chain"},
                    Attack{"insert rule inet postern gate accept", "rule added to chain gate"},
                    Attack{"flush chain inet postern gate", "rule deleted from chain gate"},
                    Attack{"flush set inet postern keep4_32", "element removed from set keep4_32"},
                    Attack{"delete element inet postern keep4_32 { 192.0.2.7 . tcp . 22 }",
                           "element removed from set keep4_32"},
                    Attack{
                        "add element inet postern keep4_32 { 198.51.100.9 . tcp . 22 timeout 1h }",
                        "element added to set keep4_32"},
                    Attack{"add chain inet postern theirs { type filter hook input priority 0; }",
                           "chain theirs added"},
                    Attack{"add table inet postern { flags dormant; }", "table added or changed"}));

TEST_F(TamperTest, AnElementThatSomebodyMadePermanentGetsItsEndBack) {
  protect_ = false;
  StartGate();
  const Grant grant = Allow(1, kFriend4, Tcp(22), absl::Seconds(2));
  Nft(*host_,
      "delete element inet postern keep4_32 { 192.0.2.7 . tcp . 22 }; add element inet "
      "postern keep4_32 { 192.0.2.7 . tcp . 22 }");
  ASSERT_TRUE(HearOfTable(kLongPatience));
  WaitForEnd(grant, /*daemon_alive=*/false);
  EXPECT_FALSE(TcpPasses(*friend_, kHost4, 22));
}

TEST_F(TamperTest, WhatWasCountedBeforeAFlushIsKept) {
  StartWithGrant(/*protect=*/false);
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_FALSE(TcpPasses(*stranger_, kHostToStranger4, 22));
  const uint64_t packets = gatekeeper_->Get(Id(1))->usage.packets;
  const uint64_t dropped = gatekeeper_->Status()->dropped.packets;
  EXPECT_GT(packets, 0U);
  EXPECT_GT(dropped, 0U);
  Nft(*host_, "flush ruleset");
  EXPECT_GE(gatekeeper_->Status()->dropped.packets, dropped);
  ASSERT_TRUE(HearOfTable(kLongPatience));
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 22));
  EXPECT_GT(gatekeeper_->Get(Id(1))->usage.packets, packets);
  EXPECT_GE(gatekeeper_->Status()->dropped.packets, dropped);
}

TEST_F(TamperTest, UntilTheFlushIsHeardOfNothingFails) {
  StartWithGrant(/*protect=*/false);
  Nft(*host_, "flush ruleset");
  EXPECT_TRUE(gatekeeper_->Status().ok());
  EXPECT_TRUE(gatekeeper_->Get(Id(1)).ok());
  // A grant that comes first puts the table back.
  Allow(2, kFriend4, Tcp(5985), kLong);
  ExpectGuarded();
  EXPECT_TRUE(TcpPasses(*friend_, kHost4, 5985));
  EXPECT_TRUE(HearOfTable(kLongPatience));
  ExpectGuarded();
}

TEST_F(TamperTest, LostNotificationsLeadToARepair) {
  StartWithGrant(/*protect=*/false);
  host_->Run([&] { watcher_ = *nft::Watcher::Open(firewall_->port(), /*receive_bytes=*/1); });
  for (int i = 0; i < 50; ++i) Nft(*host_, absl::StrCat("add table ip other", i));
  Nft(*host_, "insert rule inet postern gate accept");
  ASSERT_TRUE(HearOfTable(kLongPatience));
  ExpectGuarded();
  EXPECT_EQ(Repairs().count, 1U);
  EXPECT_THAT(Repairs().last_detail, HasSubstr("notifications were lost"));
}

// Serves the gate on a thread of its own, as the daemon's loop does.
class Serving {
 public:
  Serving(Gatekeeper& gatekeeper, nft::Watcher& watcher) {
    thread_ = std::thread([this, &gatekeeper, &watcher] {
      while (!stop_) {
        int timeout = 100;
        if (const std::optional<BootTime> alarm = gatekeeper.NextAlarm()) {
          const absl::Duration left = *alarm - SystemClock().Read().boot;
          timeout = static_cast<int>(absl::ToInt64Milliseconds(std::clamp(
              left + absl::Milliseconds(1), absl::ZeroDuration(), absl::Milliseconds(100))));
        }
        pollfd wait = {.fd = watcher.fd(), .events = POLLIN, .revents = 0};
        poll(&wait, 1, timeout);
        const auto change = watcher.Read();
        if (change.ok() && change->has_value()) gatekeeper.OnTableChanged(**change);
        gatekeeper.OnAlarm();
      }
    });
  }
  ~Serving() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST_F(TamperTest, TimeToRepair) {
  // Few enough that each is repaired at once: a long fight is paced.
  constexpr int kFlushesOfARun = 15;
  constexpr int kRuns = 8;
  StartWithGrant(/*protect=*/false);
  Deleter deleter(*host_);
  std::vector<absl::Duration> from_deletion;
  std::vector<absl::Duration> from_notification;
  for (int run = 0; run < kRuns; ++run) {
    for (uint64_t i = 1; i <= kFlushesOfARun; ++i) {
      const BootTime before = SystemClock().Read().boot;
      ASSERT_TRUE(deleter.Delete());
      ASSERT_TRUE(HearOfTable(kLongPatience));
      from_deletion.push_back(SystemClock().Read().boot - before);
      const GateRepairs repairs = Repairs();
      ASSERT_EQ(repairs.count, i);
      from_notification.push_back(repairs.last_took);
    }
    KillGate();
    StartGate();
  }
  const auto print = [](const char* what, std::vector<absl::Duration> times) {
    std::sort(times.begin(), times.end());
    std::printf("%s: p50 %.2f ms, max %.2f ms (%zu flushes)\n", what,
                absl::ToDoubleMilliseconds(times[times.size() / 2]),
                absl::ToDoubleMilliseconds(times.back()), times.size());
  };
  print("from the notification to the kernel's acknowledgement", from_notification);
  print("from before the deletion to the kernel's acknowledgement", from_deletion);
  ExpectGuarded();
}

TEST_F(TamperTest, AFightLeavesTheGateStandingAndTheAuditShort) {
  StartWithGrant(/*protect=*/false);
  Deleter deleter(*host_);
  constexpr uint64_t kDeletions = 100;
  uint64_t deletions = 0;
  const BootTime start = SystemClock().Read().boot;
  {
    const Serving serving(*gatekeeper_, *watcher_);
    while (deletions < kDeletions && SystemClock().Read().boot < start + absl::Minutes(1)) {
      deletions += deleter.Delete() ? 1 : 0;
    }
  }
  const absl::Duration took = SystemClock().Read().boot - start;
  HearOfTable();
  while (*firewall_->HasTable() == false) gatekeeper_->OnAlarm();
  EXPECT_EQ(deletions, kDeletions);
  // A burst, and then at most one in 10 ms.
  EXPECT_GE(took, (kDeletions - 25) * absl::Milliseconds(10));
  EXPECT_LE(RepairLines().size(), 3 + static_cast<size_t>(took / absl::Seconds(2)));
  ExpectGuarded();
}

}  // namespace
}  // namespace postern
