// The simulated disk: what a daemon's death leaves of the ledger.

#ifndef POSTERN_TESTS_SIMULATION_DISK_H_
#define POSTERN_TESTS_SIMULATION_DISK_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/store/sqlite_store.h"
#include "agent/store/store.h"
#include "tests/fakes/fake_disk.h"
#include "tests/fakes/fake_store.h"
#include "tests/simulation/io.h"
#include "tests/support/random.h"

namespace postern::simulation {

// Whether an event of this kind ends a grant.
bool IsEnd(AuditKind kind);

enum class Death { kKilled, kPowerCut };

// With `files`, the daemon's own store on a disk in memory, whose faults strike in the
// middle of a transaction, and which is held against what it should have; without,
// what it should have alone. One thread; `io` and `random` are borrowed.
class SimulatedDisk final : public Store {
 public:
  SimulatedDisk(Io& io, Random& random, bool files);

  absl::StatusOr<StoredState> Load() override;
  absl::Status Commit(const std::vector<Write>& writes) override;
  absl::StatusOr<std::optional<Grant>> FindGrant(absl::string_view id) override;
  absl::StatusOr<std::vector<Grant>> ListGrants(int64_t after, size_t limit,
                                                bool include_ended) override;
  absl::StatusOr<std::vector<AuditEvent>> ListAudit(uint64_t after, absl::Time since,
                                                    size_t limit) override;

  // RESOURCE_EXHAUSTED for every commit.
  void Fill(bool on);
  // UNAVAILABLE for everything.
  void Break(bool on) { broken_ = on; }
  bool well() const { return !full_ && !broken_; }
  bool readable() const { return !broken_; }

  // A commit whose answer was lost is rolled back by the running daemon's view
  // of the database; its frames lie in the log until the next commit writes over
  // them. A daemon that starts anew may find them.
  bool has_leftover() const { return !leftovers_.empty(); }
  // The daemon stops by itself.
  void Close();
  // It died: finds the frames, or not.
  void Recover(Death death);
  bool leftover_found() const { return leftover_found_; }

  // Commits that were refused so far.
  int failures() const { return failures_; }
  // Whether the last one was: what it was to write may come with the next.
  bool last_failed() const { return last_failed_; }
  // Whether what is written now tells a time to believe.
  void AskTrust(std::function<bool()> trusts) { trusts_ = std::move(trusts); }
  // The last time that was written and is to be believed.
  std::optional<absl::Time> last_seen() const { return last_seen_; }

  std::optional<BootClock> clock() const { return store_.clock(); }

  bool locked_down() const { return store_.standing().lockdown.has_value(); }
  // What is durable.
  const Grant* Find(absl::string_view id) const;
  size_t size() const { return store_.grants().size(); }
  const std::map<std::string, Grant, std::less<>>& grants() const { return store_.grants(); }
  uint64_t last_audit_number() const;
  // The kind of the last event about a grant.
  std::optional<AuditKind> LastKind(absl::string_view id) const;
  // The kind of the last event about its end.
  std::optional<AuditKind> LastEnd(absl::string_view id) const;

 private:
  absl::Status CheckReading() const;
  void Apply(const std::vector<Write>& writes);
  // What comes of a commit; throws Crash where the daemon is killed in the middle of it.
  absl::Status Try(const std::vector<Write>& writes, const Fate& fate);
  absl::Status TryFiles(const std::vector<Write>& writes, const Fate& fate);
  absl::Status OpenFiles();
  bool FilesHave(FakeStore& what);
  void RecoverFiles(Death death);

  Io& io_;
  Random& random_;
  // What has to be there.
  FakeStore store_;
  std::optional<FakeDisk> files_;
  // Open while the daemon lives.
  std::unique_ptr<SqliteStore> sqlite_;
  bool full_ = false;
  bool broken_ = false;
  // The last ones that got no answer; with files, all since a commit was taken.
  std::vector<std::vector<Write>> leftovers_;
  // What was being written when the daemon was killed.
  std::optional<std::vector<Write>> cut_off_;
  bool leftover_found_ = false;
  int failures_ = 0;
  bool last_failed_ = false;
  std::function<bool()> trusts_;
  std::optional<absl::Time> last_seen_;
  std::map<std::string, AuditKind, std::less<>> last_kinds_;
  std::map<std::string, AuditKind, std::less<>> last_ends_;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_DISK_H_
