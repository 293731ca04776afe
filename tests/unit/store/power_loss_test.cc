// The ledger on a disk whose power goes at any I/O.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/store/sqlite_store.h"
#include "common/status.h"
#include "tests/fakes/fake_disk.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/grants.h"
#include "tests/support/random.h"

namespace postern {
namespace {

constexpr char kPath[] = "/ledger.db";
constexpr size_t kAll = 1'000'000;
constexpr uint64_t kSeeds = 100;
constexpr int kPowerCuts = 12;
constexpr int kGrants = 40;

// One transaction, of grants that are new, that change, and that are taken back.
std::vector<Write> SomeWrites(Random& random, const FakeStore& ledger, int64_t& sequence) {
  std::vector<Write> writes;
  uint64_t number = ledger.audit().empty() ? 0 : ledger.audit().back().number;
  const int first = static_cast<int>(random.Below(kGrants));
  const int count = 1 + static_cast<int>(random.Below(8));
  for (int i = 0; i < count; ++i) {
    const std::string id = Id((first + i) % kGrants);
    const auto found = ledger.grants().find(id);
    Write write;
    if (found != ledger.grants().end() && random.Chance(20)) {
      write.erase = id;
    } else {
      Grant grant;
      grant.id = id;
      grant.sequence = found == ledger.grants().end() ? ++sequence : found->second.sequence;
      grant.sources = {P("203.0.113.7")};
      grant.ports = {Tcp(22)};
      grant.justification = std::string(random.Below(4000), 'x');
      grant.state = random.Chance(50) ? GrantState::kActive : GrantState::kRevoked;
      write.put = std::move(grant);
    }
    write.audit = AuditEvent{.number = ++number,
                             .time = absl::FromUnixSeconds(static_cast<int64_t>(number)),
                             .kind = AuditKind::kGrantCreated,
                             .actor = "test",
                             .grant_id = id,
                             .requestor = "",
                             .sources = {},
                             .ports = {},
                             .end = std::nullopt,
                             .detail = ""};
    writes.push_back(std::move(write));
  }
  return writes;
}

bool Same(Store& a, Store& b) {
  return a.ListGrants(0, kAll, true).value() == b.ListGrants(0, kAll, true).value() &&
         a.ListAudit(0, absl::InfinitePast(), kAll).value() ==
             b.ListAudit(0, absl::InfinitePast(), kAll).value();
}

// A ledger's life with many power cuts.
class Life {
 public:
  explicit Life(uint64_t seed) : random_(seed) {}

  FakeDisk& disk() { return disk_; }

  // What is wrong after one of them; OK where nothing ever is.
  absl::Status Run() {
    for (int cut = 0; cut < kPowerCuts; ++cut) {
      // Some in the middle of the start, most after it.
      const bool starting = random_.Chance(30);
      if (starting) disk_.StopAfter(random_.Below(30));
      POSTERN_RETURN_IF_ERROR(Open());
      if (store_ != nullptr) {
        if (!starting) disk_.StopAfter(random_.Below(random_.Chance(10) ? 1500 : 60));
        POSTERN_RETURN_IF_ERROR(WriteUntilItIsDark());
      }
      store_.reset();
      disk_.PowerOn(random_);
    }
    return Open();
  }

 private:
  absl::Status Open() {
    absl::StatusOr<std::unique_ptr<SqliteStore>> store = SqliteStore::Open(kPath);
    if (disk_.stopped()) return absl::OkStatus();
    POSTERN_RETURN_IF_ERROR(store.status());
    store_ = *std::move(store);
    if (Same(*store_, ledger_)) {
      unanswered_.reset();
      return absl::OkStatus();
    }
    if (!unanswered_ || !Same(*store_, *unanswered_)) {
      return absl::DataLossError("the ledger is neither as it was nor as it was to be");
    }
    ledger_ = *std::exchange(unanswered_, std::nullopt);
    return absl::OkStatus();
  }

  absl::Status WriteUntilItIsDark() {
    while (!disk_.stopped()) {
      if (random_.Chance(2)) {
        // A daemon that stops.
        store_.reset();
        if (!disk_.stopped()) POSTERN_RETURN_IF_ERROR(Open());
        continue;
      }
      const std::vector<Write> writes = SomeWrites(random_, ledger_, sequence_);
      FakeStore after = ledger_;
      POSTERN_RETURN_IF_ERROR(after.Commit(writes));
      if (const absl::Status status = store_->Commit(writes); status.ok()) {
        ledger_ = std::move(after);
      } else if (disk_.stopped()) {
        unanswered_ = std::move(after);
      } else {
        return status;
      }
    }
    return absl::OkStatus();
  }

  Random random_;
  FakeDisk disk_;
  std::unique_ptr<SqliteStore> store_;
  // What was acknowledged, and what that and the transaction without an answer would be.
  FakeStore ledger_;
  std::optional<FakeStore> unanswered_;
  int64_t sequence_ = 0;
};

TEST(PowerLossTest, NothingThatWasAcknowledgedIsLost) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    ASSERT_EQ(Life(seed).Run(), absl::OkStatus()) << "seed " << seed;
  }
}

// What the test above is worth: without these it has to fail.
class WithoutSyncsTest : public testing::TestWithParam<const char*> {};

TEST_P(WithoutSyncsTest, ItIsLost) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Life life(seed);
    life.disk().IgnoreSyncs(GetParam());
    if (!life.Run().ok()) return;
  }
  FAIL() << "nothing is lost";
}

// Those of the database, of the write-ahead log (as with PRAGMA synchronous = NORMAL), and
// all (as with OFF).
INSTANTIATE_TEST_SUITE_P(Files, WithoutSyncsTest, testing::Values("ledger.db", "-wal", ""));

}  // namespace
}  // namespace postern
