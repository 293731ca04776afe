// The controller's services on a disk that is full, and that has room again.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>

#include "common/fd.h"
#include "controller/service/access_service.h"
#include "controller/service/fleet_service.h"
#include "controller/store/schema.h"
#include "controller/store/sqlite_database.h"
#include "tests/fakes/fake_clock.h"
#include "tests/kernel/namespace.h"
#include "tests/support/temporary_directory.h"

namespace postern::controller {
namespace {

using testing::SizeIs;

const VmId kVm = {.subscription = "11111111-2222-3333-4444-555555555555",
                  .resource_group = "web",
                  .name = "web-1"};
const PolicyId kPolicy = {.subscription = kVm.subscription,
                          .resource_group = "web",
                          .location = "west",
                          .name = "default"};

class FullDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    // For the right to mount, where this is not root.
    const auto network = Namespace::Create();
    ASSERT_TRUE(network.ok()) << network.status();
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(mount("tmpfs", disk_.Path("").c_str(), "tmpfs", 0, "size=4m,mode=0700"), 0);
    auto database = OpenSqliteDatabase(disk_.Path("controller.db"));
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
    ASSERT_EQ(Migrate(*database_), absl::OkStatus());
    access_ =
        std::make_unique<AccessService>(*database_, clock_, [](const std::vector<std::string>&) {});
    fleet_ = std::make_unique<FleetService>(*database_, clock_);
    ASSERT_TRUE(access_->MakeFirstOwner("owner").ok());
    const auto token = access_->CreateJoinToken(owner_, Scope::Of(kVm), "west", 1, absl::Hours(1));
    ASSERT_TRUE(token.ok()) << token.status();
    ASSERT_TRUE(fleet_->Enroll(token->secret, "", "192.0.2.1").ok());
    ASSERT_EQ(fleet_->RecordCertificate(kVm, "0a", clock_.Read().wall + absl::Hours(1), ""),
              absl::OkStatus());
    ASSERT_EQ(fleet_->Attached(stream_, "0a", {.enforces = true}), absl::OkStatus());
    ASSERT_TRUE(access_->EnableVm(owner_, kVm).ok());
  }
  void TearDown() override {
    access_.reset();
    fleet_.reset();
    database_.reset();
    umount2(disk_.Path("").c_str(), MNT_DETACH);
  }

  void Fill() {
    const Fd file(open(disk_.Path("filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    constexpr size_t kMostWrites = 10'000;
    const std::array<char, 1024> block{};
    for (size_t i = 0; i < kMostWrites && write(file.get(), block.data(), block.size()) > 0; ++i) {
    }
  }
  void MakeRoom() { ASSERT_EQ(unlink(disk_.Path("filler").c_str()), 0); }

  absl::StatusOr<Request> Ask() {
    return access_->Initiate(
        owner_, kPolicy,
        {.vms = {{.id = kVm, .ports = {{.number = 22, .duration = absl::Hours(1)}}}},
         .justification = std::string(4000, 'x')});
  }
  // Until the disk takes no more: what the log has room for is taken.
  absl::Status AskUntilRefused() {
    absl::Status status;
    for (int i = 0; i < 10'000 && status.ok(); ++i) status = Ask().status();
    return status;
  }

  const TemporaryDirectory disk_;
  FakeClock clock_;
  const Caller owner_ = {.principal = "owner", .address = *Address::Parse("203.0.113.7")};
  const AgentStream stream_ = {.vm = kVm, .id = "stream"};
  std::unique_ptr<Database> database_;
  std::unique_ptr<AccessService> access_;
  std::unique_ptr<FleetService> fleet_;
};

TEST_F(FullDiskTest, WhatIsAskedIsRefusedAndTakenOnceThereIsRoom) {
  Fill();
  const absl::Status refused = AskUntilRefused();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  // All or nothing, and what is there can be read.
  const absl::StatusOr<Wanted> before = fleet_->WantedOf(stream_);
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_FALSE(Ask().ok());
  EXPECT_EQ(fleet_->WantedOf(stream_)->revision, before->revision);
  EXPECT_EQ(access_->VerifyAudit(owner_), absl::OkStatus());

  MakeRoom();
  const absl::StatusOr<Request> taken = Ask();
  ASSERT_TRUE(taken.ok()) << taken.status();
  const absl::StatusOr<Wanted> after = fleet_->WantedOf(stream_);
  ASSERT_THAT(after->grants, SizeIs(1));
  EXPECT_EQ(after->grants[0].id, taken->ports[0].grant_id);
  EXPECT_EQ(access_->VerifyAudit(owner_), absl::OkStatus());
}

}  // namespace
}  // namespace postern::controller
