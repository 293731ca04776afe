// The ledger's store in memory.

#ifndef POSTERN_TESTS_FAKES_FAKE_STORE_H_
#define POSTERN_TESTS_FAKES_FAKE_STORE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/store/store.h"

namespace postern {

// One thread. Outlives the Gatekeeper that uses it, so that a test can start a
// second one on what the first left behind.
class FakeStore final : public Store {
 public:
  absl::StatusOr<StoredState> Load() override;
  absl::Status Commit(const std::vector<Write>& writes) override;
  absl::StatusOr<std::optional<Grant>> FindGrant(absl::string_view id) override;
  absl::StatusOr<std::vector<Grant>> ListGrants(int64_t after, size_t limit,
                                                bool include_ended) override;
  absl::StatusOr<std::vector<AuditEvent>> ListAudit(uint64_t after, absl::Time since,
                                                    size_t limit) override;

  // While this is an error, Commit answers it and changes nothing.
  void FailCommits(absl::Status status) { commit_failure_ = std::move(status); }

  // Commits that were taken.
  int commits() const { return commits_; }
  const std::map<std::string, Grant, std::less<>>& grants() const { return grants_; }
  const std::vector<AuditEvent>& audit() const { return audit_; }
  const Standing& standing() const { return standing_; }
  const std::optional<BootClock>& clock() const { return clock_; }

 private:
  absl::Status commit_failure_;
  int commits_ = 0;
  std::map<std::string, Grant, std::less<>> grants_;
  std::vector<AuditEvent> audit_;
  int64_t last_sequence_ = 0;
  Standing standing_;
  std::optional<absl::Time> last_seen_;
  std::optional<BootClock> clock_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_FAKES_FAKE_STORE_H_
