// State folders that cannot be used, and disks that fill up.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/daemon/daemon_test.h"

namespace postern {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TroubleTest : public DaemonTest {
 protected:
  ~TroubleTest() override {
    host_->daemon().Kill();
    if (mounted_) umount2(host_->state_dir().c_str(), MNT_DETACH);
  }

  // Makes state_dir a file system of its own.
  void MountState() {
    std::filesystem::create_directory(host_->state_dir());
    ASSERT_EQ(mount("tmpfs", host_->state_dir().c_str(), "tmpfs", 0, "size=2m,mode=0700"), 0)
        << std::strerror(errno);
    mounted_ = true;
  }

  void MakeStateReadOnly() {
    ASSERT_EQ(mount("tmpfs", host_->state_dir().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr),
              0)
        << std::strerror(errno);
  }

  // Leaves no byte of it free.
  void FillState() {
    const Fd fd(open(Filler().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::array<char, 4096> page{};
    while (write(fd.get(), page.data(), page.size()) > 0) {
    }
    ASSERT_EQ(errno, ENOSPC);
  }
  void EmptyState() { std::filesystem::remove(Filler()); }

  void DamageLedger() {
    // Beyond the file's first page, and in it.
    std::fstream file(Ledger(), std::ios::in | std::ios::out | std::ios::binary);
    for (const int place : {0, 4096 + 100, 8192 + 100}) {
      file.seekp(place);
      file << std::string(512, 'x');
    }
    file.close();
    std::filesystem::remove(absl::StrCat(Ledger(), "-wal"));
  }

  std::vector<std::string> DamagedFiles() {
    std::vector<std::string> damaged;
    for (const auto& entry : std::filesystem::directory_iterator(host_->state_dir())) {
      if (absl::StrContains(entry.path().string(), ".damaged-")) damaged.push_back(entry.path());
    }
    return damaged;
  }

  // It does not start, and yet the gate is closed.
  void ExpectNoStart(const std::string& reason) {
    EXPECT_EQ(Run({}), 1);
    EXPECT_THAT(host_->daemon().Log(), HasSubstr(reason));
    EXPECT_TRUE(TableStands());
    EXPECT_FALSE(host_->Admits(kStranger, 22));
  }

  std::string Ledger() { return host_->state_dir() + "/ledger.db"; }
  std::string Filler() { return host_->state_dir() + "/filler"; }

 private:
  bool mounted_ = false;
};

// ---- It cannot start

TEST_F(TroubleTest, AReadOnlyStateFolderLeavesAClosedGate) {
  MountState();
  MakeStateReadOnly();
  ExpectNoStart(absl::StrCat(host_->state_dir(), " is on a read-only file system"));
}

TEST_F(TroubleTest, AFullStateFolderLeavesAClosedGate) {
  MountState();
  FillState();
  ExpectNoStart(absl::StrCat("make space on the disk of ", host_->state_dir()));
}

TEST_F(TroubleTest, AStateFolderThatIsNoFolderLeavesAClosedGate) {
  host_->files().Write("state", "");
  ExpectNoStart(absl::StrCat("state_dir ", host_->state_dir(), " (make it for posternd's user"));
}

TEST_F(TroubleTest, AStartThatFailsLeavesLiveGrantsAlone) {
  MountState();
  Start();
  Allow(kFriend, absl::Minutes(1));
  host_->daemon().Kill();
  MakeStateReadOnly();
  ExpectNoStart(absl::StrCat(host_->state_dir(), " is on a read-only file system"));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
}

TEST_F(TroubleTest, APortThatIsTakenLeavesAClosedGate) {
  const absl::StatusOr<Fd> taken = host_->HostSocket(SOCK_STREAM, kAgentPort);
  ASSERT_OK(taken.status());
  ASSERT_EQ(listen(taken->get(), 1), 0);
  ExpectNoStart("listen.address");
}

// ---- A ledger that cannot be read

TEST_F(TroubleTest, ADamagedLedgerIsSetAsideAndTheGateClosed) {
  Start();
  Allow(kFriend, absl::Minutes(1));
  ASSERT_TRUE(host_->Admits(kFriend, 22));
  host_->daemon().Kill();
  DamageLedger();
  std::ifstream damaged(Ledger(), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(damaged), {}};

  Start();
  EXPECT_FALSE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  ExpectNoDifference();
  const absl::StatusOr<std::vector<v1::Grant>> grants = ListGrants(*host_->Local(), true);
  ASSERT_OK(grants.status());
  EXPECT_THAT(*grants, IsEmpty());

  const std::vector<std::string> aside = DamagedFiles();
  ASSERT_EQ(aside.size(), 1U);
  std::ifstream kept(aside.front(), std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(kept), {}), bytes);

  // Told in the log, in each status and in the audit.
  EXPECT_THAT(host_->daemon().Log(), HasSubstr(aside.front()));
  const absl::StatusOr<v1::GetStatusResponse> status = GetStatus(*host_->Local());
  ASSERT_OK(status.status());
  EXPECT_THAT(status->warnings(), Contains(HasSubstr(aside.front())));
  const absl::StatusOr<std::vector<v1::AuditEvent>> events = ListEvents(*host_->Local());
  ASSERT_OK(events.status());
  EXPECT_EQ(events->front().kind(), v1::LEDGER_REPLACED);

  // And it goes on.
  Allow(kFriend, absl::Minutes(1));
  host_->daemon().Kill();
  Start();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_EQ(DamagedFiles().size(), 1U);
}

// ---- The disk fills up

class FullDiskTest : public TroubleTest {
 protected:
  void SetUp() override {
    TroubleTest::SetUp();
    MountState();
    Start();
  }

  // Waits until an event of `kind` about `grant` is in the audit.
  void AwaitEvent(v1::AuditKind kind, const v1::Grant& grant) {
    const absl::Time end = absl::Now() + kPatience;
    for (;;) {
      const absl::StatusOr<std::vector<v1::AuditEvent>> events = ListEvents(*host_->Local());
      ASSERT_OK(events.status());
      for (const v1::AuditEvent& event : *events) {
        if (event.kind() == kind && event.grant_id() == grant.id()) return;
      }
      ASSERT_LT(absl::Now(), end) << v1::AuditKind_Name(kind) << " is not recorded";
      absl::SleepFor(absl::Milliseconds(50));
    }
  }
};

TEST_F(FullDiskTest, NobodyNewIsLetIn) {
  const v1::Grant standing = Allow(kFriend, absl::Minutes(1));
  FillState();
  const auto stub = host_->Local();
  const v1::CreateGrantRequest request = NewGrant(kStranger, absl::Minutes(1));
  for (int i = 0; i < 3; ++i) {
    const grpc::Status status = Create(*stub, request).status;
    EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("full"));
  }
  EXPECT_EQ(Extend(*stub, standing.id(), absl::Seconds(1)).status.error_code(),
            grpc::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_EQ(Get(*stub, request.id()).status.error_code(), grpc::NOT_FOUND);
  ExpectNoDifference();

  EmptyState();
  EXPECT_TRUE(Create(*stub, request).status.ok());
  EXPECT_TRUE(host_->Admits(kStranger, 22));
}

TEST_F(FullDiskTest, WhoeverIsToGoGoesAndItIsRecordedLater) {
  const v1::Grant withdrawn = Allow("10.0.0.8", absl::Minutes(1));
  const v1::Grant brief = Allow("10.0.0.9", absl::Seconds(3));
  FillState();
  const auto stub = host_->Local();
  const Answer revoked = Revoke(*stub, withdrawn.id());
  ASSERT_TRUE(revoked.status.ok()) << revoked.status.error_message();
  EXPECT_EQ(revoked.grant.state(), v1::REVOKED);
  EXPECT_FALSE(host_->Admits("10.0.0.8", 22));
  SleepUntil(ToTime(brief.end_time()) + absl::Milliseconds(100));
  EXPECT_FALSE(host_->Admits("10.0.0.9", 22));
  EXPECT_EQ(Get(*stub, brief.id()).grant.state(), v1::EXPIRED);
  ExpectNoDifference();

  EmptyState();
  AwaitEvent(v1::GRANT_REVOKED, withdrawn);
  AwaitEvent(v1::GRANT_EXPIRED, brief);
  host_->daemon().Kill();
  Start();
  EXPECT_EQ(Get(*host_->Local(), withdrawn.id()).grant.state(), v1::REVOKED);
  EXPECT_EQ(Get(*host_->Local(), brief.id()).grant.state(), v1::EXPIRED);
  EXPECT_FALSE(host_->Admits("10.0.0.8", 22));
  ExpectNoDifference();
}

TEST_F(FullDiskTest, AStartAdoptsWhatLives) {
  Allow(kFriend, absl::Minutes(1));
  const v1::Grant brief = Allow("10.0.0.9", absl::Seconds(2));
  host_->daemon().Kill();
  FillState();
  SleepUntil(ToTime(brief.end_time()) + absl::Milliseconds(100));
  Start();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EXPECT_FALSE(host_->Admits("10.0.0.9", 22));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  const auto stub = host_->Local();
  EXPECT_EQ(Get(*stub, brief.id()).grant.state(), v1::EXPIRED);
  ExpectNoDifference();
  const grpc::Status refused = Create(*stub, NewGrant(kStranger, absl::Minutes(1))).status;
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("full"));
  EXPECT_THAT(refused.error_message(),
              HasSubstr(absl::StrCat("make space on the disk of ", host_->state_dir())));
  EXPECT_FALSE(host_->Admits(kStranger, 22));
  const absl::StatusOr<v1::GetStatusResponse> status = GetStatus(*stub);
  ASSERT_OK(status.status());
  EXPECT_THAT(status->warnings(), Contains(HasSubstr("could not be recorded yet")));

  EmptyState();
  AwaitEvent(v1::GRANT_EXPIRED, brief);
  Allow(kStranger, absl::Minutes(1));
  EXPECT_TRUE(host_->Admits(kStranger, 22));
}

TEST_F(FullDiskTest, AStopIsStillAStop) {
  Allow(kFriend, absl::Minutes(1));
  FillState();
  host_->daemon().Signal(SIGTERM);
  const absl::StatusOr<int> status = host_->daemon().Wait(kPatience);
  ASSERT_OK(status.status());
  EXPECT_EQ(*status, 0);
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  EmptyState();
  Start();
  EXPECT_TRUE(host_->Admits(kFriend, 22));
  ExpectNoDifference();
}

}  // namespace
}  // namespace postern
